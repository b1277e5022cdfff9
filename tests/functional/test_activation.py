"""relu, leaky_relu, sigmoid, tanh, gelu, silu against PyTorch."""

import numpy as np
import pytest
import torch
from accuracy import assert_as_accurate
from refusal import assert_refused
from tolerance import assert_close

import minicnn
from minicnn import functional as F

ACTIVATIONS = {
    "relu": (F.relu, F.relu_backward, {}, torch.relu),
    "leaky_relu": (F.leaky_relu, F.leaky_relu_backward, {}, torch.nn.functional.leaky_relu),
    "leaky_relu, negative slope": (
        F.leaky_relu, F.leaky_relu_backward, {"negative_slope": -1.5},
        lambda x: torch.nn.functional.leaky_relu(x, -1.5),
    ),
    "sigmoid": (F.sigmoid, F.sigmoid_backward, {}, torch.sigmoid),
    "tanh": (F.tanh, F.tanh_backward, {}, torch.tanh),
    "silu": (F.silu, F.silu_backward, {}, torch.nn.functional.silu),
    "gelu": (F.gelu, F.gelu_backward, {}, torch.nn.functional.gelu),
    "gelu, tanh": (
        F.gelu, F.gelu_backward, {"approximate": "tanh"},
        lambda x: torch.nn.functional.gelu(x, approximate="tanh"),
    ),
}  # fmt: skip
SHAPES = [(), (1,), (0,), (2, 0, 3), (7,), (3, 4, 5, 6), (20011,)]


@pytest.fixture(params=ACTIVATIONS)
def activation(request):
    return ACTIVATIONS[request.param]


def torchs(function, x, dy, dtype=torch.float64):
    """y and dx of PyTorch."""
    leaf = torch.tensor(x).to(dtype).requires_grad_()
    y = function(leaf)
    y.backward(torch.tensor(dy).to(dtype))
    return y.detach().numpy(), leaf.grad.numpy()


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_against_torch(backend, activation, shape, dtype, rng):
    forward, backward, settings, peer = activation
    x = np.asarray(3 * rng.standard_normal(shape), dtype)
    dy = np.asarray(rng.standard_normal(shape), dtype)
    y, ctx = forward(x, **settings)
    dx = backward(dy, ctx)
    true_y, true_dx = torchs(peer, x, dy)
    for actual, expected, what in ((y, true_y, "y"), (dx, true_dx, "dx")):
        assert isinstance(actual, np.ndarray)
        assert actual.dtype == dtype
        assert actual.flags.c_contiguous
        assert_close(actual, expected, 16, what=what)  # 1 + tanh of the truth cancels in float64 too
    np.testing.assert_array_equal(backward(dy, ctx), dx)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 30.0, 1e4])
def test_float32_is_as_accurate_as_torchs(backend, activation, scale, rng):
    forward, backward, settings, peer = activation
    x = (scale * rng.standard_normal(5000)).astype(np.float32)
    dy = rng.standard_normal(5000).astype(np.float32)
    y, ctx = forward(x, **settings)
    true_y, true_dx = torchs(peer, x, dy)
    peer_y, peer_dx = torchs(peer, x, dy, torch.float32)
    assert_as_accurate(y, true_y, peer_y, "y")
    assert_as_accurate(backward(dy, ctx), true_dx, peer_dx, "dx")


# without the exact gelu: PyTorch's vectorised erf gives NaN at infinity; the next test says what is right
@pytest.mark.parametrize("name", sorted(ACTIVATIONS.keys() - {"gelu"}))
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_nan_infinities_and_zeros_are_torchs(backend, name, dtype):
    forward, backward, settings, peer = ACTIVATIONS[name]
    x = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1e4, -1e4], dtype)
    dy = np.array([3.0, 5.0, 7.0, 11.0, 13.0, 17.0, 19.0], dtype)
    y, ctx = forward(x, **settings)
    true_y, true_dx = torchs(peer, x, dy, torch.float64 if dtype == np.float64 else torch.float32)
    np.testing.assert_allclose(y, true_y, rtol=1e-6)
    np.testing.assert_allclose(backward(dy, ctx), true_dx, rtol=1e-6)


def test_gelu_of_nan_and_infinities(backend):
    y, ctx = F.gelu(np.array([np.nan, np.inf, -np.inf, 1e4, -1e4]))
    np.testing.assert_array_equal(y, [np.nan, np.inf, np.nan, 1e4, 0.0])  # −inf · 0 is NaN
    np.testing.assert_array_equal(F.gelu_backward(np.ones(5), ctx), [np.nan, np.nan, np.nan, 1.0, 0.0])


def test_relu_at_nan_and_zero(backend):
    y, ctx = F.relu(np.array([np.nan, 0.0, -0.0]))
    np.testing.assert_array_equal(y, [np.nan, 0, 0])
    np.testing.assert_array_equal(F.relu_backward(np.array([3.0, 4.0, 5.0]), ctx), [3, 0, 0])


def test_any_strides_and_read_only(backend, activation, rng):
    forward, backward, settings, _ = activation
    base = rng.standard_normal((6, 8, 5))
    dy = rng.standard_normal((5, 8, 6))
    expected, ctx = forward(np.ascontiguousarray(base.transpose()), **settings)
    expected_dx = backward(dy, ctx)
    overlapping = np.lib.stride_tricks.sliding_window_view(rng.standard_normal(12), 5)
    for x, same in ((base.transpose(), expected), (np.asfortranarray(base.transpose()), expected), (overlapping, None)):
        y, ctx = forward(x, **settings)
        assert y.flags.c_contiguous
        assert not np.shares_memory(y, x)
        if same is not None:
            np.testing.assert_array_equal(y, same)
            dx = backward(np.asfortranarray(dy), ctx)
            assert dx.flags.c_contiguous
            np.testing.assert_array_equal(dx, expected_dx)
    base.flags.writeable = False
    np.testing.assert_array_equal(forward(base.transpose(), **settings)[0], expected)


def test_the_context_refers_to_x(backend, activation, rng):
    forward, backward, settings, _ = activation
    x, dy = rng.standard_normal(9), rng.standard_normal(9)
    _, ctx = forward(x, **settings)
    assert ctx.x is x
    x *= -2
    np.testing.assert_array_equal(backward(dy, ctx), backward(dy, forward(x.copy(), **settings)[1]))
    with minicnn.no_grad():
        assert forward(x, **settings)[1] is None


@pytest.mark.parametrize(
    ("x", "error"),
    [
        (None, TypeError),
        ([1.0, 2.0], TypeError),
        (1.0, TypeError),
        (np.float32(1), TypeError),
        (np.arange(3), TypeError),
        (np.ones(3, bool), TypeError),
        (np.ones(3, complex), TypeError),
        (np.array(["a"]), TypeError),
    ],
    ids=repr,
)
def test_bad_x(backend, activation, x, error):
    forward, _, settings, _ = activation
    assert_refused(error, "x must be", lambda: forward(x, **settings))


@pytest.mark.parametrize(
    ("dy", "error"),
    [
        (None, TypeError),
        (1.0, TypeError),
        (np.ones((2, 3), np.float32), TypeError),
        (np.ones((2, 3), int), TypeError),
        (np.ones((3, 2)), ValueError),
        (np.ones((1, 3)), ValueError),
        (np.ones(()), ValueError),
    ],
    ids=repr,
)
def test_bad_dy(backend, activation, dy, error):
    forward, backward, settings, _ = activation
    _, ctx = forward(np.ones((2, 3)), **settings)
    assert_refused(error, "dy must", lambda: backward(dy, ctx), ctx.x)


def test_bad_contexts_and_settings(backend, activation):
    backward = activation[1]
    for ctx in (None, 3, (np.ones(2),), F.linear(np.ones((2, 3)), np.ones((2, 3)))[1]):
        assert_refused(TypeError, "ctx must be", lambda ctx=ctx: backward(np.ones(2), ctx))
    x = np.ones(3)
    for slope in (None, "0.1", True, 1j, np.ones(1), [0.1]):
        assert_refused(TypeError, "negative_slope", lambda slope=slope: F.leaky_relu(x, slope))
    assert_refused(ValueError, "approximate", lambda: F.gelu(x, "erf"))
    for wrong in (None, 0, True, ["none"]):
        assert_refused(TypeError, "approximate", lambda wrong=wrong: F.gelu(x, wrong))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_an_infinite_gradient_warns_of_nothing(backend, activation, dtype):
    """The derivative of a saturated sigmoid is 0, and 0 · inf is NaN: no RuntimeWarning, which is an error here."""
    forward, backward, settings, _ = activation
    x = np.array([1e4, -1e4, 0.0], dtype)
    backward(np.array([np.inf, np.inf, np.inf], dtype), forward(x, **settings)[1])
