"""batch_norm against PyTorch."""

import numpy as np
import pytest
import torch
from accuracy import assert_as_accurate
from refusal import assert_refused
from tolerance import assert_close

import minicnn
from minicnn import functional as F

SHAPES = [(4, 3), (5, 1), (33, 300), (2, 3, 5), (4, 16, 7, 6), (3, 9, 20, 30), (2, 3, 70, 71), (1, 1, 40), (1, 20, 33),
          (3, 2, 2, 3, 4)]  # fmt: skip


def arguments(shape, dtype, rng, mean=0.5, std=1.5):
    """x, running_mean, running_var, weight, bias."""
    C = shape[1]
    x = (mean + std * rng.standard_normal(shape)).astype(dtype)
    running = mean + std * rng.standard_normal(C), std**2 * rng.uniform(0.5, 2, C)
    return [x, *(a.astype(dtype) for a in (*running, rng.standard_normal(C), rng.standard_normal(C)))]


def torchs(arrays, dy, dtype=torch.float64, **settings):
    """PyTorch's y, dx, dweight, dbias, running_mean, running_var."""
    x, mean, var, weight, bias = (None if a is None else torch.tensor(a).to(dtype) for a in arrays)
    leaves = [leaf.requires_grad_() for leaf in (x, weight, bias) if leaf is not None]
    y = torch.nn.functional.batch_norm(x, mean, var, weight, bias, **settings)
    y.backward(torch.tensor(dy).to(dtype))
    gradients = {id(leaf): leaf.grad.numpy() for leaf in leaves}
    gradients = [gradients.get(id(leaf)) for leaf in (x, weight, bias)]
    return [y.detach().numpy(), *gradients, *(None if a is None else a.numpy() for a in (mean, var))]


def ours(arrays, dy, **settings):
    y, ctx = F.batch_norm(*arrays, **settings)
    return [y, *F.batch_norm_backward(dy, ctx), *arrays[1:3]]


WHAT = ("y", "dx", "dweight", "dbias", "running_mean", "running_var")


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_against_torch(backend, shape, dtype, training, rng):
    arrays, dy = arguments(shape, dtype, rng), rng.standard_normal(shape).astype(dtype)
    expected = torchs(arrays, dy, training=training, momentum=0.3, eps=1e-3)
    results = ours(arrays, dy, training=training, momentum=0.3, eps=1e-3)
    for actual, truth, what in zip(results, expected, WHAT):
        assert actual.dtype == dtype
        assert actual.flags.c_contiguous
        assert_close(actual, truth, dy.size // shape[1], what=what)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("given", [(True, False), (False, True), (False, False)])
def test_without_weight_or_bias(backend, given, training, rng):
    arrays, dy = arguments((5, 10, 6, 7), np.float64, rng), rng.standard_normal((5, 10, 6, 7))
    arrays[3:] = [array if there else None for array, there in zip(arrays[3:], given)]
    expected = torchs(arrays, dy, training=training)
    for actual, truth, what in zip(ours(arrays, dy, training=training), expected, WHAT):
        assert (actual is None) == (truth is None)
        if truth is not None:
            assert_close(actual, truth, 210, what=what)


def test_without_running_statistics(backend, rng):
    arrays, dy = arguments((5, 10, 6), np.float64, rng), rng.standard_normal((5, 10, 6))
    arrays[1:3] = [None, None]
    for actual, truth, what in zip(ours(arrays, dy, training=True), torchs(arrays, dy, training=True), WHAT[:4]):
        assert_close(actual, truth, 30, what=what)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("shape", [(16, 24, 9, 9), (4, 3, 100, 100), (512, 40), (2, 2, 30000)], ids=str)
@pytest.mark.parametrize(("mean", "std"), [(0, 1), (1e4, 1e-2), (-300, 1), (0, 1e-3), (1, 1e3)])
def test_float32_is_as_accurate_as_torchs(backend, shape, mean, std, training, rng):
    arrays, dy = arguments(shape, np.float32, rng, mean, std), rng.standard_normal(shape).astype(np.float32)
    truth = torchs(arrays, dy, training=training)
    peer = torchs(arrays, dy, torch.float32, training=training)
    for values in zip(ours(arrays, dy, training=training), truth, peer, WHAT):
        assert_as_accurate(*values)


def test_the_variance_keeps_its_digits_whatever_the_first_value(backend, rng):
    """Values that a shift by the first one, or by nothing, would spoil: an outlier in front, and a mean of 1e4."""
    x = (1e4 + 1e-2 * rng.standard_normal((4, 10, 50, 50))).astype(np.float32)
    x[:, :, 0, 0] = -3e4
    mean, var = np.zeros(10, np.float32), np.zeros(10, np.float32)
    F.batch_norm(x, mean, var, training=True, momentum=1.0)
    wide = x.astype(np.float64)
    np.testing.assert_allclose(mean, wide.mean(axis=(0, 2, 3)), rtol=2e-7)
    np.testing.assert_allclose(var, wide.var(axis=(0, 2, 3), ddof=1), rtol=1e-6)


def test_momentum(backend, rng):
    x = rng.standard_normal((6, 3))
    batch_mean, batch_var = x.mean(axis=0), x.var(axis=0, ddof=1)
    for momentum in (0.0, 0.25, 1, np.float32(0.5)):
        mean, var = np.full(3, 2.0), np.full(3, 5.0)
        F.batch_norm(x, mean, var, training=True, momentum=momentum)
        np.testing.assert_allclose(mean, (1 - momentum) * 2 + momentum * batch_mean, rtol=1e-12)
        np.testing.assert_allclose(var, (1 - momentum) * 5 + momentum * batch_var, rtol=1e-12)
    before = mean.copy(), var.copy()
    F.batch_norm(x, mean, var)
    np.testing.assert_array_equal((mean, var), before)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("shape", [(0, 3), (0, 10, 4, 4), (2, 3, 0), (2, 9, 0, 5), (3, 0)], ids=str)
def test_of_no_values(backend, shape, training):
    C = shape[1]
    mean, var = np.full(C, 2.0), np.full(C, 3.0)
    y, ctx = F.batch_norm(np.zeros(shape), mean, var, np.ones(C), np.ones(C), training)
    assert y.shape == shape
    np.testing.assert_array_equal((mean, var), (np.full(C, 2.0), np.full(C, 3.0)))
    dx, dweight, dbias = F.batch_norm_backward(np.zeros(shape), ctx)
    assert dx.shape == shape
    np.testing.assert_array_equal((dweight, dbias), np.zeros((2, C)))


@pytest.mark.parametrize("channels", [3, 12])
def test_nan_and_infinity_stay_in_their_channel(backend, channels, rng):
    x, dy = rng.standard_normal((3, channels, 8, 8)), rng.standard_normal((3, channels, 8, 8))
    clean, clean_ctx = F.batch_norm(x, None, None, training=True)
    clean_dx, _, _ = F.batch_norm_backward(dy, clean_ctx)
    x[1, 0, 2, 3], x[2, 2, 0, 0] = np.nan, np.inf
    mean, var = np.zeros(channels), np.ones(channels)
    y, ctx = F.batch_norm(x, mean, var, training=True)
    dx, _, _ = F.batch_norm_backward(dy, ctx)
    spoilt = np.isin(np.arange(channels), (0, 2))
    assert np.isnan(y[:, spoilt]).all()
    assert np.isnan(dx[:, spoilt]).all()
    np.testing.assert_array_equal(y[:, ~spoilt], clean[:, ~spoilt])
    np.testing.assert_array_equal(dx[:, ~spoilt], clean_dx[:, ~spoilt])
    np.testing.assert_array_equal(np.isnan(var), spoilt)


def test_constant_channels(backend):
    x = np.full((4, 10, 6, 6), 7.0, np.float32)
    y, ctx = F.batch_norm(x, None, None, None, np.arange(10, dtype=np.float32), training=True)
    np.testing.assert_array_equal(y, np.broadcast_to(np.arange(10.0)[:, None, None], y.shape))
    assert np.isfinite(F.batch_norm_backward(x, ctx)[0]).all()


@pytest.mark.parametrize("training", [True, False])
def test_any_strides_and_read_only(backend, training, rng):
    x, mean, var, weight, bias = arguments((6, 9, 8), np.float64, rng)
    dy = rng.standard_normal(x.shape)
    expected = ours([x, mean.copy(), var.copy(), weight, bias], dy, training=training)
    strided_mean, strided_var = np.zeros(18)[::2], np.zeros(27)[::3]
    strided_mean[:], strided_var[:] = mean, var
    arrays = [np.asfortranarray(x), strided_mean, strided_var, np.repeat(weight, 2)[::2], bias[::-1][::-1]]
    for array in (arrays[0], arrays[3], arrays[4]):
        array.flags.writeable = False
    for actual, same in zip(ours(arrays, np.asfortranarray(dy), training=training)[:4], expected):
        assert actual.flags.c_contiguous
        np.testing.assert_array_equal(actual, same)
    np.testing.assert_array_equal((strided_mean, strided_var), expected[4:])


def test_needs_and_contexts(backend, rng):
    arrays, dy = arguments((5, 9, 6), np.float64, rng), rng.standard_normal((5, 9, 6))
    _, ctx = F.batch_norm(*arrays, training=True)
    every = F.batch_norm_backward(dy, ctx)
    for needs in ((True, False, False), (False, True, False), (False, False, True), (False, False, False)):
        for wanted, actual, expected in zip(needs, F.batch_norm_backward(dy, ctx, needs=needs), every):
            assert (actual is not None) == wanted
            assert actual is None or (actual == expected).all()
    assert ctx.x is arrays[0]
    with minicnn.no_grad():
        assert F.batch_norm(*arrays)[1] is None


def test_bad_calls(backend):
    x, mean, var, weight, bias = np.ones((4, 3, 2)), np.zeros(3), np.ones(3), np.ones(3), np.zeros(3)
    arrays = {"x": x, "running_mean": mean, "running_var": var, "weight": weight, "bias": bias}
    held = (mean, var)

    def refused(error, named, **changed):
        assert_refused(error, named, lambda: F.batch_norm(**{**arrays, "training": True, **changed}), *held)

    for name, array in arrays.items():
        for wrong in ("a", [1.0, 2.0, 3.0], 1.0, np.ones(3, int), np.ones(3, bool), array.astype(np.float32)):
            if not (name == "x" and isinstance(wrong, np.ndarray) and wrong.dtype == np.float32):
                refused(TypeError, f"{name} must be", **{name: wrong})
        if name != "x":
            for shape in ((), (2,), (4,), (1, 3), (0,)):
                refused(ValueError, f"{name} must have shape", **{name: np.ones(shape)})
    refused(TypeError, "must be", x=x.astype(np.float32))
    refused(TypeError, "x must be", x=None)
    for shape in ((), (3,)):
        refused(ValueError, "x must be (N, C)", x=np.ones(shape))
    refused(ValueError, "more than one value", x=np.ones((1, 3)))
    refused(ValueError, "more than one value", x=np.ones((1, 3, 1, 1)))
    for name in ("running_mean", "running_var"):
        frozen = np.ones(3)
        frozen.flags.writeable = False
        refused(ValueError, f"{name} must be writable", **{name: frozen})
        F.batch_norm(**{**arrays, name: frozen})  # reading is enough outside training
        refused(ValueError, f"{name} must be an array", **{name: None})
        refused(ValueError, f"{name} must be an array", **{name: None}, training=False)
    refused(ValueError, "running_mean must be an array", running_mean=None, running_var=None, training=False)
    for name in ("momentum", "eps"):
        for wrong in (None, "0.1", True, 1j, np.ones(1)):
            refused(TypeError, f"{name} must be", **{name: wrong})
        for wrong in (-0.1, float("nan"), float("inf")):
            refused(ValueError, f"{name} must be", **{name: wrong})
    refused(ValueError, "momentum must be", momentum=1.5)
    refused(ValueError, "eps must be above 0", eps=0.0)
    F.batch_norm(**arrays, eps=0)
    for wrong in (None, 1, "yes"):
        refused(TypeError, "training must be", training=wrong)


def test_bad_backward_calls(backend):
    x = np.arange(24.0).reshape(4, 3, 2)
    _, ctx = F.batch_norm(x, None, None, training=True)
    for dy in (None, 1.0, np.ones((4, 3, 2), np.float32), np.ones((4, 3, 2), int)):
        assert_refused(TypeError, "dy must be", lambda dy=dy: F.batch_norm_backward(dy, ctx), x)
    for shape in ((4, 3), (4, 3, 1), (3, 4, 2), ()):
        assert_refused(ValueError, "dy must have", lambda shape=shape: F.batch_norm_backward(np.ones(shape), ctx), x)
    for wrong in (None, tuple(ctx), F.relu(x)[1]):
        assert_refused(TypeError, "ctx must be", lambda wrong=wrong: F.batch_norm_backward(x, wrong), x)
