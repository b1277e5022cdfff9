"""What only a GPU can show. Without one these tests say that they were skipped."""

import numpy as np
import pytest
from gpu import GPU

import minicnn
from minicnn import functional as F
from minicnn import nn, optim
from minicnn.data import DataLoader, Digits
from minicnn.training import Trainer

pytestmark = pytest.mark.skipif(not GPU, reason="needs an NVIDIA GPU, numba-cuda and CuPy")


@pytest.fixture
def cupy():
    return pytest.importorskip("cupy")


def network(seed=0):
    minicnn.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(3, 2, 1), nn.Flatten(),
        nn.Linear(128, 10),
    )  # fmt: skip


def trained(where, epochs=2, graph=False):
    model = network().to(where)
    loader = DataLoader(Digits(train=True), batch_size=64, shuffle=True, seed=1)
    trainer = Trainer(model, nn.CrossEntropyLoss(), optim.SGD(model.parameters(), lr=0.05, momentum=0.9), graph=graph)
    return model, trainer.fit(loader, epochs=epochs)


def test_a_model_moves_there_and_back(cupy):
    model = network()
    before = model.state_dict()
    model.to("cuda")
    assert all(isinstance(p.data, cupy.ndarray) for p in model.parameters())
    assert all(isinstance(array, np.ndarray) for array in model.state_dict().values())
    model.to("cpu")
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


def test_training_on_the_gpu_is_training(cupy):
    _, history = trained("cuda")
    _, expected = trained("cpu")
    assert history[-1]["loss"] == pytest.approx(expected[-1]["loss"], rel=1e-2)
    assert history[-1]["accuracy"] == pytest.approx(expected[-1]["accuracy"], abs=0.02)


def test_results_repeat_bit_for_bit(cupy):
    first, second = trained("cuda")[0].state_dict(), trained("cuda")[0].state_dict()
    for name, array in first.items():
        np.testing.assert_array_equal(array, second[name])


def test_a_graph_trains_to_the_same_bits(cupy):
    eager, graphed = trained("cuda")[0].state_dict(), trained("cuda", graph=True)[0].state_dict()
    for name, array in eager.items():
        np.testing.assert_array_equal(array, graphed[name], name)


@pytest.mark.parametrize("algorithm", ["im2col", "winograd"])
def test_a_convolution_of_many_channels(cupy, algorithm, rng):
    """Whole blocks of 128 × 128, which the simulator has no time for."""
    x, dy = (rng.standard_normal((4, 160, 14, 14), np.float32) for _ in range(2))
    weight = rng.standard_normal((160, 160, 3, 3), np.float32)
    wide = [a.astype(np.float64) for a in (x, weight, dy)]
    with minicnn.backend("reference"):
        truth, ctx = F.conv2d(*wide[:2], padding=1)
        truths = truth, *F.conv2d_backward(wide[2], ctx)[:2]
    with minicnn.conv_algorithm(algorithm):
        y, ctx = F.conv2d(cupy.asarray(x), cupy.asarray(weight), padding=1)
        found = y, *F.conv2d_backward(cupy.asarray(dy), ctx)[:2]
    for array, exact in zip(found, truths):
        assert np.abs(array.get() - exact).max() <= 2e-5 * np.abs(exact).max()


def test_memory_does_not_grow_over_1000_steps(cupy):
    model = network().to("cuda")
    criterion, optimizer = nn.CrossEntropyLoss(), optim.Adam(model.parameters())
    x, target = cupy.ones((16, 1, 8, 8), np.float32), np.zeros(16, np.int64)
    pool = cupy.get_default_memory_pool()

    def steps(count):
        for _ in range(count):
            criterion(model(x), target)
            optimizer.zero_grad()
            model.backward(criterion.backward(), need_dx=False)
            optimizer.step()
        cupy.cuda.get_current_stream().synchronize()
        return pool.used_bytes(), pool.total_bytes()

    assert steps(1000) == steps(10)
