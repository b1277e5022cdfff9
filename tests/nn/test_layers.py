"""Every layer against torch in float64: forward, dx, gradients of the parameters, state_dict keys, defaults, repr."""

import re

import numpy as np
import pytest
import torch
from tolerance import assert_close

from minicnn import nn

tnn = torch.nn

IMAGE = (2, 4, 7, 6)
CASES = [
    # (constructor arguments, by the same name in both, shape of x)
    ("Linear", (5, 3), {}, (4, 5)),
    ("Linear", (5, 3), {"bias": False}, (2, 3, 5)),
    ("Conv2d", (4, 6, 3), {}, IMAGE),
    ("Conv2d", (4, 6, (3, 2)), {"stride": (2, 1), "padding": (1, 2), "dilation": (1, 2), "groups": 2}, IMAGE),
    ("Conv2d", (4, 6, 3, 1, "same"), {"bias": False}, (4, 7, 6)),
    ("Conv2d", (4, 2, (4, 3)), {"padding": "same", "padding_mode": "reflect"}, IMAGE),
    ("Conv2d", (4, 2, 3), {"padding": "valid", "padding_mode": "circular"}, IMAGE),
    ("Conv2d", (4, 2, 3), {"padding": (2, 1), "padding_mode": "circular", "stride": 2}, IMAGE),
    ("Conv2d", (4, 2, 3), {"padding": (1, 2), "padding_mode": "reflect", "groups": 2}, IMAGE),
    ("Conv2d", (4, 2, 3), {"padding": 2, "padding_mode": "replicate"}, (4, 7, 6)),
    ("ConvTranspose2d", (4, 6, 3), {}, IMAGE),
    (
        "ConvTranspose2d",
        (4, 6, (3, 2)),
        {"stride": (2, 3), "padding": (1, 0), "output_padding": (1, 2), "groups": 2, "dilation": (2, 1)},
        IMAGE,
    ),
    ("ConvTranspose2d", (4, 6, 2), {"stride": 2, "bias": False}, (4, 7, 6)),
    ("BatchNorm2d", (4,), {}, IMAGE),
    ("BatchNorm2d", (4,), {"eps": 0.1, "momentum": 0.7}, IMAGE),
    ("BatchNorm2d", (4,), {"momentum": None}, IMAGE),
    ("BatchNorm2d", (4,), {"affine": False}, IMAGE),
    ("BatchNorm2d", (4,), {"track_running_stats": False}, IMAGE),
    ("MaxPool2d", (2,), {}, IMAGE),
    ("MaxPool2d", ((3, 2), (2, 1), 1), {"dilation": (1, 2), "ceil_mode": True}, IMAGE),
    ("AvgPool2d", (2,), {}, IMAGE),
    ("AvgPool2d", (3, 2, 1, True, False), {}, IMAGE),
    ("AvgPool2d", ((3, 2), None), {"divisor_override": 5}, (4, 7, 6)),
    ("AdaptiveAvgPool2d", (3,), {}, IMAGE),
    ("AdaptiveAvgPool2d", ((2, None),), {}, IMAGE),
    ("ReLU", (), {}, IMAGE),
    ("LeakyReLU", (0.2,), {}, IMAGE),
    ("LeakyReLU", (), {}, IMAGE),
    ("Sigmoid", (), {}, IMAGE),
    ("Tanh", (), {}, IMAGE),
    ("GELU", (), {}, IMAGE),
    ("GELU", ("tanh",), {}, IMAGE),
    ("SiLU", (), {}, IMAGE),
    ("Softmax", (), {"dim": 1}, IMAGE),
    ("Softmax", (-1,), {}, (3, 5)),
    ("LogSoftmax", (), {"dim": 2}, IMAGE),
    ("Flatten", (), {}, IMAGE),
    ("Flatten", (2,), {}, IMAGE),
    ("Identity", (), {}, IMAGE),
    ("Upsample", (), {"scale_factor": 2}, IMAGE),
    ("Upsample", ((9, 4),), {}, IMAGE),
    ("Upsample", (), {"scale_factor": (1.7, 0.8), "mode": "bilinear"}, IMAGE),
    ("Upsample", (5,), {"mode": "bilinear", "align_corners": True}, IMAGE),
]
IDS = [f"{name}-{i}" for i, (name, *_) in enumerate(CASES)]


def made(name, arguments, settings):
    """The same layer here and in torch, float64, with the same random parameters."""
    ours = getattr(nn, name)(*arguments, **settings).astype(np.float64)
    theirs = getattr(tnn, name)(*arguments, **settings).double()
    rng = np.random.default_rng(7)
    for (key, parameter), (_, other) in zip(ours.named_parameters(), theirs.named_parameters(), strict=True):
        parameter.data = rng.standard_normal(parameter.shape)
        other.data = torch.tensor(parameter.data)
        assert key
    return ours, theirs


@pytest.mark.parametrize(("name", "arguments", "settings", "shape"), CASES, ids=IDS)
@pytest.mark.parametrize("training", [True, False])
def test_layer_is_torchs(backend, rng, name, arguments, settings, shape, training):
    ours, theirs = made(name, arguments, settings)
    ours.train(training), theirs.train(training)
    for _ in range(2):  # the second time gradients add up and running statistics move on
        x = rng.standard_normal(shape)
        tx = torch.tensor(x, requires_grad=True)
        y, ty = ours(x), theirs(tx)
        assert_close(y, ty.detach().numpy(), length=100, what="y")
        dy = rng.standard_normal(y.shape)
        dx = ours.backward(dy)
        ty.backward(torch.tensor(dy))
        assert_close(dx, tx.grad.numpy(), length=100, what="dx")
    for (key, parameter), other in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        assert_close(parameter.grad, other.grad.numpy(), length=500, what=f"d{key}")
    state = ours.state_dict()
    assert list(state) == list(theirs.state_dict())
    for key, other in theirs.state_dict().items():
        assert_close(state[key].astype(np.float64), other.numpy(), length=100, what=key)


@pytest.mark.parametrize(("name", "arguments", "settings", "shape"), CASES, ids=IDS)
def test_defaults_and_repr_are_torchs(name, arguments, settings, shape):
    ours, theirs = getattr(nn, name)(*arguments, **settings), getattr(tnn, name)(*arguments, **settings)
    if name != "Upsample":  # torch prints scale factors as floats
        assert repr(ours) == re.sub(r"bias=\w+, (track)", r"\1", repr(theirs))  # newer torch prints that default
    for key, array in theirs.state_dict().items():
        assert ours.state_dict()[key].shape == tuple(array.shape)
        assert ours.state_dict()[key].dtype == array.numpy().dtype


@pytest.mark.parametrize("name", ["Conv2d", "ConvTranspose2d", "Linear"])
def test_default_initialisation_is_torchs(name):
    """Uniform in ±1/√fan_in: the bounds, the mean and the variance, compared with what torch draws."""
    arguments = (32, 64) if name == "Linear" else (32, 64, 3)
    ours, theirs = getattr(nn, name)(*arguments), getattr(tnn, name)(*arguments)
    fan_in = ours.weight.size // ours.weight.shape[0]
    limit = 1 / np.sqrt(fan_in)
    for parameter, other in zip(ours.parameters(), theirs.parameters()):
        assert parameter.dtype == np.float32
        assert np.abs(parameter.data).max() <= limit
        assert float(other.detach().abs().max()) <= limit  # that is what torch draws from
        assert np.abs(parameter.data).max() > 0.9 * limit
    assert abs(ours.weight.data.std() * np.sqrt(3) / limit - 1) < 0.05
    assert abs(ours.weight.data.mean()) < 0.05 * limit


def test_dropout(backend, rng):
    layer = nn.Dropout(0.25)
    x = np.ones((100, 100))
    y = layer(x)
    kept = y != 0
    assert np.all(y[kept] == 1 / 0.75)
    assert abs(kept.mean() - 0.75) < 0.02
    dy = rng.standard_normal(x.shape)
    assert_close(layer.backward(dy), dy * kept / 0.75)
    assert not np.array_equal(layer(x), y)
    layer.eval()
    assert np.array_equal(layer(x), x)
    assert np.array_equal(layer.backward(dy), dy)


def test_manual_seed_repeats_initialisation_and_dropout(backend):
    import minicnn

    def run():
        minicnn.manual_seed(3)
        layer = nn.Sequential(nn.Linear(6, 6), nn.Dropout(0.5))
        return layer[0].weight.data, layer(np.ones((4, 6), np.float32))

    for first, second in zip(run(), run()):
        assert np.array_equal(first, second)


def test_batch_norm_in_eval_mode_and_frozen_passes_dx(backend, rng):
    ours, theirs = made("BatchNorm2d", (3,), {})
    x = rng.standard_normal((4, 3, 5, 5))
    ours(x), theirs(torch.tensor(x))
    ours.eval().requires_grad_(False)
    theirs.eval()
    tx = torch.tensor(x, requires_grad=True)
    dy = rng.standard_normal(x.shape)
    y, ty = ours(x), theirs(tx)
    ty.backward(torch.tensor(dy))
    assert_close(y, ty.detach().numpy())
    assert_close(ours.backward(dy), tx.grad.numpy())
    assert ours.weight.grad is None
    assert ours.bias.grad is None


def test_batch_norm_statistics_move_while_frozen_and_not_after_an_error(backend, rng):
    layer = nn.BatchNorm2d(3).requires_grad_(False)
    layer(rng.standard_normal((4, 3, 2, 2)).astype(np.float32))
    assert layer.num_batches_tracked == 1
    assert np.any(layer.running_mean != 0)
    before = layer.state_dict()
    for shape in [(1, 3, 1, 1), (4, 2, 2, 2), (4, 3, 2), (3, 4, 4)]:
        with pytest.raises(ValueError, match=r"BatchNorm2d|batch_norm"):
            layer(np.ones(shape, np.float32))
    for key, array in layer.state_dict().items():
        assert np.array_equal(array, before[key])


@pytest.mark.parametrize("training", [True, False])
def test_batch_norm_without_bias(backend, rng, training):
    layer, plain = nn.BatchNorm2d(3, bias=False), nn.BatchNorm2d(3)
    assert list(layer.state_dict()) == ["weight", "running_mean", "running_var", "num_batches_tracked"]
    x = rng.standard_normal((4, 3, 2, 2)).astype(np.float32)
    layer.train(training), plain.train(training)
    assert_close(layer(x), plain(x))
    assert_close(layer.backward(x), plain.backward(x))
    assert_close(layer.weight.grad, plain.weight.grad)


def test_softmax_without_dim_chooses_as_torch(backend, rng):
    for shape in [(4,), (2, 3), (2, 3, 4), (2, 3, 4, 2)]:
        x = rng.standard_normal(shape)
        with pytest.warns(UserWarning, match="Implicit dimension"):
            expected = tnn.Softmax()(torch.tensor(x)).numpy()
        assert_close(nn.Softmax()(x), expected)


BAD = [
    (nn.Linear, (0, 3), ValueError),
    (nn.Linear, (3, -1), ValueError),
    (nn.Linear, (3.0, 1), TypeError),
    (nn.Linear, (3, 1, "no"), TypeError),
    (nn.Conv2d, (3, 4, 0), ValueError),
    (nn.Conv2d, (3, 4, (1, 2, 3)), ValueError),
    (nn.Conv2d, (3, 4, "3"), TypeError),
    (nn.Conv2d, (3, 4, 3, 0), ValueError),
    (nn.Conv2d, (3, 4, 3, 1, -1), ValueError),
    (nn.Conv2d, (3, 4, 3, 1, "full"), ValueError),
    (nn.Conv2d, (3, 4, 3, 2, "same"), ValueError),
    (nn.Conv2d, (3, 4, 3, 1, 0, 0), ValueError),
    (nn.Conv2d, (3, 4, 3, 1, 0, 1, 2), ValueError),
    (nn.Conv2d, (4, 3, 3, 1, 0, 1, 2), ValueError),
    (nn.Conv2d, (4, 4, 3, 1, 0, 1, 0), ValueError),
    (nn.Conv2d, (3, 4, 3, 1, 0, 1, 1, True, "mirror"), ValueError),
    (nn.Conv2d, (2**31, 2**31, 3), ValueError),
    (nn.ConvTranspose2d, (3, 4, 3, 1, "same"), TypeError),
    (nn.ConvTranspose2d, (3, 4, 3, 1, 0, -1), ValueError),
    (nn.BatchNorm2d, (0,), ValueError),
    (nn.BatchNorm2d, (3, "small"), TypeError),
    (nn.BatchNorm2d, (3, 1e-5, "slow"), TypeError),
    (nn.MaxPool2d, (0,), ValueError),
    (nn.MaxPool2d, (2, 0), ValueError),
    (nn.MaxPool2d, (3, 1, 2), ValueError),
    (nn.MaxPool2d, (2, 2, 0, 0), ValueError),
    (nn.MaxPool2d, (2, 2, 0, 1, False), TypeError),  # torch's return_indices has no place here
    (nn.AvgPool2d, (2, 2, -1), ValueError),
    (nn.AvgPool2d, (2, 2, 0, False, True, 0), ValueError),
    (nn.AdaptiveAvgPool2d, (-1,), ValueError),
    (nn.AdaptiveAvgPool2d, ((1, 2, 3),), ValueError),
    (nn.AdaptiveAvgPool2d, ("all",), TypeError),
    (nn.AdaptiveAvgPool2d, (None,), TypeError),
    (nn.LeakyReLU, ("a",), TypeError),
    (nn.GELU, ("erf",), ValueError),
    (nn.Softmax, (1.5,), TypeError),
    (nn.Dropout, (1.5,), ValueError),
    (nn.Dropout, (float("nan"),), ValueError),
    (nn.Flatten, (1, 2), ValueError),
    (nn.Upsample, (), ValueError),
    (nn.Upsample, (2, 2), ValueError),
    (nn.Upsample, (0,), ValueError),
    (nn.Upsample, (None, -1.0), ValueError),
    (nn.Upsample, (2, None, "cubic"), ValueError),
    (nn.Upsample, (2, None, "nearest", True), ValueError),
    (nn.CrossEntropyLoss, ([1.0],), TypeError),
    (nn.Sequential, (nn.ReLU,), TypeError),
    (nn.Residual, (None,), TypeError),
    (nn.Concat, (), ValueError),
]


@pytest.mark.parametrize(("layer", "arguments", "error"), BAD, ids=lambda value: getattr(value, "__name__", None))
def test_bad_arguments_are_refused_in_one_line(layer, arguments, error):
    with pytest.raises(error) as raised:
        layer(*arguments)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 400
