"""Batch norm, ReLU and sum in one pass: to the bit what the modules give one by one, which they do when watched."""

import copy

import numpy as np
import pytest

import minicnn
from minicnn import nn
from minicnn.functional.door import Listener, listen
from minicnn.models import SimpleCNN
from minicnn.models.resnet import BasicBlock
from minicnn.nn import fused


class Passes:
    """Counts how often the fused way was taken."""

    def __init__(self, monkeypatch):
        self.forward = self.backward = 0
        forward, backward = fused.batch_norm_relu, fused.batch_norm_relu_backward

        def counted(*args):
            self.forward += 1
            return forward(*args)

        def counted_backward(*args, **options):
            self.backward += 1
            return backward(*args, **options)

        monkeypatch.setattr(fused, "batch_norm_relu", counted)
        monkeypatch.setattr(fused, "batch_norm_relu_backward", counted_backward)


@pytest.fixture
def passes(monkeypatch):
    return Passes(monkeypatch)


def sequential(channels):
    return nn.Sequential(nn.Conv2d(3, channels, 1), nn.BatchNorm2d(channels), nn.ReLU(), nn.Conv2d(channels, 2, 1))


MODELS = {
    "few channels": lambda: sequential(5),
    "sequential": lambda: sequential(9),
    "not affine": lambda: nn.Sequential(nn.BatchNorm2d(3, affine=False), nn.ReLU()),
    "no statistics": lambda: nn.Sequential(nn.BatchNorm2d(3, track_running_stats=False), nn.ReLU()),
    "average of all batches": lambda: nn.Sequential(nn.BatchNorm2d(3, momentum=None), nn.ReLU()),
    "block": lambda: nn.Sequential(nn.Conv2d(3, 8, 1), BasicBlock(8, 8, 1)),
    "block with downsample": lambda: nn.Sequential(nn.Conv2d(3, 8, 1), BasicBlock(8, 16, 2)),
}


def images(size, dtype=np.float32):
    return np.random.default_rng(3).standard_normal((3, 3, *size)).astype(dtype)


def one_step(model, x, watch_forward=False, watch_backward=False):
    """Everything that a forward and a backward leave behind."""
    handles = []
    if watch_forward:
        handles = [m.register_forward_hook(lambda *_: None) for m in model.modules()]
    y = model(x)
    for handle in handles:
        handle.remove()
    if watch_backward:
        handles = [m.register_backward_hook(lambda *_: None) for m in model.modules()]
    dx = model.backward(np.random.default_rng(4).standard_normal(y.shape).astype(y.dtype))
    grads = [p.grad for p in model.parameters() if p.grad is not None]
    assert all(not module._contexts for module in model.modules())
    return [y, dx, *grads, *model.state_dict().values()]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [(6, 6), (70, 70)], ids=["short planes", "long planes"])
@pytest.mark.parametrize("name", MODELS)
def test_the_same_bits_whoever_watches(backend, passes, name, size, dtype):
    model = MODELS[name]().astype(dtype)
    x, results = images(size, dtype), []
    for watched in ((False, False), (True, True), (True, False), (False, True)):
        before = passes.forward, passes.backward
        results.append(one_step(copy.deepcopy(model), x, *watched))
        assert (passes.forward > before[0], passes.backward > before[1]) == (not watched[0], not watched[1])
    for other in results[1:]:
        for array, expected in zip(other, results[0], strict=True):
            np.testing.assert_array_equal(array, expected)


@pytest.mark.parametrize("special", [np.nan, np.inf, -np.inf])
def test_the_same_bits_with_special_values(special):
    model, x = MODELS["block"](), images((6, 6))
    x[1, 0, 2, 3] = special
    with np.errstate(invalid="ignore"):
        plain, watched = one_step(copy.deepcopy(model), x), one_step(copy.deepcopy(model), x, True, True)
    for array, expected in zip(plain, watched, strict=True):
        np.testing.assert_array_equal(array, expected)


def test_frozen_and_eval_mode(passes):
    """In eval mode nothing is fused; frozen parameters get no gradient."""
    model, x = MODELS["block with downsample"](), images((6, 6))
    model.requires_grad_(False)
    model[1].bn1.eval()
    plain, watched = one_step(copy.deepcopy(model), x), one_step(copy.deepcopy(model), x, True, True)
    assert passes.forward == 1  # bn2 alone
    for array, expected in zip(plain, watched, strict=True):
        np.testing.assert_array_equal(array, expected)


def test_a_listener_hears_each_operation(passes):
    class Ears(Listener):
        def __init__(self):
            self.heard = []

        def forward(self, operation, inputs, y, ctx):
            self.heard.append(operation)

        def backward(self, operation, ctx, dy, gradients):
            self.heard.append(operation)

    model, x = MODELS["block"](), images((6, 6))
    with listen(Ears()) as ears:
        one_step(model, x)
    assert passes.forward == passes.backward == 0
    assert ears.heard.count("relu") == 4 and ears.heard.count("add") == 2 and ears.heard.count("batch_norm") == 4


def test_no_grad_keeps_nothing():
    model, x = MODELS["block"](), images((6, 6))
    with minicnn.no_grad():
        model(x)
    assert all(not module._contexts for module in model.modules())
    with pytest.raises(RuntimeError, match="backward without a forward"):
        model.backward(np.zeros((3, 8, 6, 6), np.float32))


def test_an_impossible_sum_is_told_as_ever():
    norm, relu = nn.BatchNorm2d(2), nn.ReLU()
    with pytest.raises(ValueError, match="add: b must have shape"):
        fused.norm_relu(norm, relu, np.ones((2, 2, 3, 3), np.float32), np.ones((1, 2, 3, 3), np.float32), nn.Identity())


POOLS = {
    "2x2": (2,), "3x3 overlapping": (3, 2, 1), "3x2 ceil": ((3, 2), (2, 2), 0, 1), "5x5": (5, 1, 2),
}  # fmt: skip


@pytest.fixture
def pooled(monkeypatch):
    """Counts the ReLUs that ran behind the pooling."""
    made = []
    original = fused.PooledReluContext
    monkeypatch.setattr(fused, "PooledReluContext", type("Counted", (original,), {
        "__new__": lambda cls, x: made.append(1) or original.__new__(cls, x),
    }))  # fmt: skip
    return made


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", POOLS)
def test_relu_and_pooling_give_the_same_bits_whoever_watches(backend, pooled, name, dtype):
    """Also where windows are negative throughout, hold equal pixels, zeros of both signs, NaN and infinities."""
    model = nn.Sequential(nn.ReLU(), nn.MaxPool2d(*POOLS[name]))
    x, results = np.round(2 * images((11, 12), dtype)), []
    x[0, 0, :6], x[0, 1, 3, 3:8] = -1, [np.nan, np.inf, -np.inf, -0.0, 0.0]
    for watched in ((False, False), (True, True), (True, False), (False, True)):
        before = len(pooled)
        results.append(one_step(copy.deepcopy(model), x, *watched))
        assert (len(pooled) > before) == (not watched[0])
    for other in results[1:]:
        for array, expected in zip(other, results[0], strict=True):
            np.testing.assert_array_equal(array, expected)


@pytest.mark.parametrize("name", POOLS)
def test_relu_and_pooling_against_torch(name):
    torch = pytest.importorskip("torch")
    model = nn.Sequential(nn.ReLU(), nn.MaxPool2d(*POOLS[name]))
    x = np.round(2 * images((11, 12), np.float64))
    theirs = torch.tensor(x, requires_grad=True)
    expected = torch.nn.functional.max_pool2d(torch.relu(theirs), *POOLS[name])
    y = model(x)
    dy = np.random.default_rng(5).standard_normal(y.shape)
    expected.backward(torch.tensor(dy))
    np.testing.assert_array_equal(y, expected.detach().numpy())
    np.testing.assert_allclose(model.backward(dy), theirs.grad.numpy(), rtol=1e-14)


def test_no_pooling_first_where_a_window_may_miss_the_image(pooled):
    """Of a dilated window every tap can lie in the padding: it gives −inf, which a ReLU behind it would make 0."""
    pool = nn.MaxPool2d(2, 1, padding=1, dilation=2)
    y = nn.Sequential(nn.ReLU(), pool)(np.ones((1, 1, 1, 1), np.float32))
    np.testing.assert_array_equal(y, pool(np.ones((1, 1, 1, 1), np.float32)))
    assert not pooled


@pytest.mark.parametrize("put", [{"pool1": nn.Identity()}, {"relu2": nn.Tanh()}, {"pool2": nn.AvgPool2d(2)}])
def test_other_modules_in_the_place_of_relu_and_pooling(put):
    model = SimpleCNN(3, image_size=8)
    if "pool1" in put:
        model.fc1 = nn.Linear(64 * 4 * 4, 128)
    for name, module in put.items():
        setattr(model, name, module)
    x, results = images((8, 8)), []
    for watched in (False, True):
        results.append(one_step(copy.deepcopy(model), x, watched, watched))
    for plain, other in zip(*results, strict=True):
        np.testing.assert_array_equal(plain, other)


def test_no_contexts_are_kept_without_gradients():
    model = nn.Sequential(nn.ReLU(), nn.MaxPool2d(2))
    with minicnn.no_grad():
        model(images((6, 6)))
    assert all(not module._contexts for module in model.modules())
