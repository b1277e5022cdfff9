"""softmax and log_softmax against PyTorch."""

import numpy as np
import pytest
import torch
from accuracy import assert_as_accurate
from refusal import assert_refused
from tolerance import assert_close

import minicnn
from minicnn import functional as F

PAIRS = {
    "softmax": (F.softmax, F.softmax_backward, torch.softmax),
    "log_softmax": (F.log_softmax, F.log_softmax_backward, torch.log_softmax),
}


@pytest.fixture(params=PAIRS)
def pair(request):
    return PAIRS[request.param]


def torchs(function, x, dy, axis, dtype=torch.float64):
    leaf = torch.tensor(x).to(dtype).requires_grad_()
    y = function(leaf, axis)
    y.backward(torch.tensor(dy).to(dtype))
    return y.detach().numpy(), leaf.grad.numpy()


CASES = [((5,), -1), ((1,), 0), ((4, 10), -1), ((4, 10), 0), ((130, 7), 1), ((7, 130), 0), ((2, 5, 3, 4), 1),
         ((3, 4, 130), 1), ((2, 3, 4, 5), -1), ((2, 3, 4, 5), -3), ((0, 5), -1), ((5, 0), -1), ((5, 0), 0),
         ((2, 3, 0), 1), ((3, 1000), -1), ((3, 1), -1)]  # fmt: skip


@pytest.mark.parametrize(("shape", "axis"), CASES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_against_torch(backend, pair, shape, axis, dtype, rng):
    forward, backward, peer = pair
    x, dy = (3 * rng.standard_normal(shape)).astype(dtype), rng.standard_normal(shape).astype(dtype)
    y, ctx = forward(x, axis)
    dx = backward(dy, ctx)
    true_y, true_dx = torchs(peer, x, dy, axis)
    for actual, expected, what in ((y, true_y, "y"), (dx, true_dx, "dx")):
        assert actual.dtype == dtype
        assert actual.flags.c_contiguous
        assert_close(actual, expected, shape[axis], what=what)
    np.testing.assert_array_equal(backward(dy, ctx), dx)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4])
@pytest.mark.parametrize("classes", [3, 1000])
def test_float32_is_as_accurate_as_torchs(backend, pair, scale, classes, rng):
    forward, backward, peer = pair
    x = (scale * rng.standard_normal((20, classes))).astype(np.float32)
    dy = rng.standard_normal(x.shape).astype(np.float32)
    y, ctx = forward(x)
    true_y, true_dx = torchs(peer, x, dy, -1)
    peer_y, peer_dx = torchs(peer, x, dy, -1, torch.float32)
    assert_as_accurate(y, true_y, peer_y, "y")
    assert_as_accurate(backward(dy, ctx), true_dx, peer_dx, "dx")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("axis", [0, 1])
def test_nan_and_infinities_are_torchs(backend, pair, dtype, axis):
    forward, backward, peer = pair
    inf, nan = np.inf, np.nan
    x = np.array([[1, -inf, 2], [-inf, -inf, -inf], [inf, 1, 2], [inf, -inf, inf], [nan, 1, 2], [1e4, -1e4, 9999]])
    x = x.astype(dtype)
    dy = np.arange(18, dtype=dtype).reshape(6, 3)
    x, dy = (x, dy) if axis == 1 else (x.T, dy.T)
    y, ctx = forward(x, axis)
    true_y, true_dx = torchs(peer, x, dy, axis)
    np.testing.assert_allclose(y, true_y, rtol=1e-6)
    np.testing.assert_allclose(backward(dy, ctx), true_dx, rtol=1e-5, atol=1e-6)


def test_any_strides_and_the_context_refers_to_x(backend, pair, rng):
    forward, backward, _ = pair
    base, dy = rng.standard_normal((6, 5, 4)), rng.standard_normal((4, 5, 6))
    expected, ctx = forward(np.ascontiguousarray(base.transpose()), 1)
    expected_dx = backward(dy, ctx)
    base.flags.writeable = False
    y, ctx = forward(base.transpose(), 1)
    dx = backward(np.asfortranarray(dy), ctx)
    assert y.flags.c_contiguous
    assert dx.flags.c_contiguous
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(dx, expected_dx)
    base.flags.writeable = True
    base *= 2
    np.testing.assert_array_equal(backward(dy, ctx), backward(dy, forward(base.transpose().copy(), 1)[1]))
    with minicnn.no_grad():
        assert forward(base)[1] is None


def test_bad_calls(backend, pair):
    forward, backward, _ = pair
    x = np.ones((2, 3))
    for wrong in (None, 1.0, [1.0], np.arange(3), np.ones(3, bool), np.ones(3, complex)):
        assert_refused(TypeError, "x must be", lambda wrong=wrong: forward(wrong))
    for axis in (2, -3, 2**70, np.int64(5)):
        assert_refused(ValueError, "axis must be", lambda axis=axis: forward(x, axis), x)
    for axis in (None, 1.0, "1", True, (0, 1)):
        assert_refused(TypeError, "axis must be", lambda axis=axis: forward(x, axis), x)
    assert_refused(ValueError, "axis must be", lambda: forward(np.array(1.0), 1))
    _, ctx = forward(x)
    for dy in (None, 1.0, np.ones((2, 3), np.float32), np.ones((2, 3), int)):
        assert_refused(TypeError, "dy must be", lambda dy=dy: backward(dy, ctx), x)
    for dy in (np.ones(3), np.ones((3, 2)), np.ones((2, 1))):
        assert_refused(ValueError, "dy must have", lambda dy=dy: backward(dy, ctx), x)
    for wrong in (None, (x, 1), F.relu(x)[1]):
        assert_refused(TypeError, "ctx must be", lambda wrong=wrong: backward(x, wrong))


@pytest.mark.parametrize("axis", [0, -1])
def test_a_single_number_is_a_row_of_one(backend, pair, axis):
    forward, backward, peer = pair
    x, dy = np.array(2.0), np.array(3.0)
    y, ctx = forward(x, axis)
    wanted_y, wanted_dx = torchs(peer, x, dy, axis)
    for ours, wanted in ((y, wanted_y), (backward(dy, ctx), wanted_dx)):
        assert isinstance(ours, np.ndarray) and ours.shape == ()
        assert ours == wanted
