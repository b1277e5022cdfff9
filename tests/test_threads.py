"""The same bits on one thread and on two: forward, backward and a whole short training run."""

import numpy as np
import pytest

import minicnn
from minicnn import functional as F
from minicnn import models, nn, optim
from minicnn.backends.settings import max_threads

needs_two = pytest.mark.skipif(max_threads() < 2, reason="this machine has one core: two threads cannot be compared")


@pytest.fixture(autouse=True)
def threads_as_before():
    before = minicnn.get_num_threads()
    yield
    minicnn.set_num_threads(before)


def image(shape=(5, 12, 37, 41), seed=1):
    return np.random.default_rng(seed).standard_normal(shape)


def settings_of(name):
    """(inputs, settings, positions of what is differentiable) large enough for several chunks of work."""
    normal = np.random.default_rng(2).standard_normal
    x, flat = image(), image((700, 131))
    return {
        "conv2d": [
            ((x, normal((16, 12, 3, 3)), normal(16)), {"padding": 1}),
            ((x, normal((24, 4, 3, 2)), normal(24)), {"stride": (2, 1), "dilation": (1, 2), "groups": 3}),
            ((x, normal((12, 1, 3, 3)), None), {"groups": 12, "padding": "same"}),
            ((x, normal((64, 12, 1, 1)), normal(64)), {}),
        ],
        "conv_transpose2d": [((x, normal((12, 5, 3, 3)), normal(5)), {"stride": 2, "output_padding": 1})],
        "linear": [((flat, normal((67, 131)), normal(67)), {})],
        "max_pool2d": [((x, 3), {"stride": 2, "padding": 1})],
        "avg_pool2d": [((x, 3), {"stride": 2, "padding": 1})],
        "adaptive_avg_pool2d": [((x, (7, 5)), {})],
        "batch_norm": [
            ((x, np.zeros(12), np.ones(12), normal(12), normal(12)), {"training": True}),
            ((x, normal(12), np.ones(12), normal(12), normal(12)), {}),
        ],
        "softmax": [((flat,), {}), ((x,), {"axis": 1})],
        "log_softmax": [((flat,), {}), ((x,), {"axis": 1})],
        "pad": [((x, (1, 2, 3, 4)), {"mode": "reflect"}), ((x, (1, 2, 3, 4)), {})],
        "interpolate": [((x,), {"scale_factor": 1.7, "mode": "bilinear"}), ((x,), {"size": (20, 60)})],
        "cross_entropy": [
            ((flat, np.arange(700) % 131), {"weight": np.linspace(0.5, 2, 131), "label_smoothing": 0.1}),
            ((flat, np.arange(700) % 131), {"reduction": "sum"}),
        ],
        "nll_loss": [((flat, np.arange(700) % 131), {})],
        "mse_loss": [((x, image(seed=3)), {})],
        "binary_cross_entropy_with_logits": [((x, np.abs(np.sin(image(seed=3)))), {})],
        "add": [((x, image(seed=3)), {})],
        "concat": [(([x, image(seed=3)],), {})],
        "dropout": [((x, 0.3), {})],
        "flatten": [((x,), {})],
    }.get(name, [((x,), {})])


def as_dtype(value, dtype):
    if isinstance(value, list):
        return [as_dtype(item, dtype) for item in value]
    floating = isinstance(value, np.ndarray) and value.dtype.kind == "f"
    return value.astype(dtype) if floating else value.copy() if isinstance(value, np.ndarray) else value


def bits(value):
    """What was computed as bytes, whatever it is made of."""
    if isinstance(value, (tuple, list)):
        return [bits(item) for item in value]
    return None if value is None else np.asarray(value).tobytes()


def forward_and_backward(name, inputs, settings, dtype):
    inputs = [as_dtype(value, dtype) for value in inputs]
    settings = {key: as_dtype(value, dtype) for key, value in settings.items()}
    if name == "dropout":
        settings["rng"] = np.random.default_rng(3)
    y, ctx = getattr(F, name)(*inputs, **settings)
    dy = np.random.default_rng(4).standard_normal(np.shape(y)).astype(dtype) if np.ndim(y) else dtype(0.7)
    return bits([y, getattr(F, f"{name}_backward")(dy, ctx), inputs])  # inputs: running statistics are among them


OPERATIONS = sorted(name.removesuffix("_backward") for name in dir(F) if name.endswith("_backward"))


@needs_two
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_gives_the_same_bits(name, dtype):
    for inputs, settings in settings_of(name):
        results = []
        for threads in (1, 2, 1):
            minicnn.set_num_threads(threads)
            results.append(forward_and_backward(name, inputs, settings, dtype))
        assert results[0] == results[1] == results[2], f"{name} {settings}"


@needs_two
@pytest.mark.parametrize("algorithm", ["im2col", "direct"])
def test_each_convolution_algorithm_gives_the_same_bits(algorithm):
    with minicnn.conv_algorithm(algorithm):
        for inputs, settings in settings_of("conv2d"):
            results = []
            for threads in (1, 2):
                minicnn.set_num_threads(threads)
                results.append(forward_and_backward("conv2d", inputs, settings, np.float32))
            assert results[0] == results[1], settings


def trained(model_of, steps, threads, optimizer):
    """The state of a model after a few steps."""
    minicnn.set_num_threads(threads)
    minicnn.manual_seed(11)
    model = model_of()
    stepper = optimizer(model.parameters())
    criterion = nn.CrossEntropyLoss(label_smoothing=0.1)
    rng = np.random.default_rng(12)
    losses = []
    for _ in range(steps):
        x, y = rng.standard_normal((16, 3, 32, 32)).astype(np.float32), rng.integers(0, 10, 16)
        losses.append(criterion(model(x), y))
        stepper.zero_grad()
        model.backward(criterion.backward(), need_dx=False)
        stepper.step()
    return bits([losses, list(model.state_dict().values())])


def small_network():
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2),
        nn.Residual(nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.GELU())),
        nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Dropout(0.2), nn.Linear(128, 10),
    )  # fmt: skip


@needs_two
@pytest.mark.parametrize(
    ("model_of", "optimizer"),
    [
        (models.SimpleCNN, lambda parameters: optim.SGD(parameters, lr=0.05, momentum=0.9, weight_decay=1e-4)),
        (small_network, lambda parameters: optim.AdamW(parameters, lr=1e-3)),
    ],
    ids=["SimpleCNN, SGD", "batch norm, dropout, AdamW"],
)
def test_a_short_training_run_gives_the_same_bits(model_of, optimizer):
    assert trained(model_of, 5, 1, optimizer) == trained(model_of, 5, 2, optimizer)
