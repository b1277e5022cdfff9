"""cross_entropy, nll_loss, mse_loss, binary_cross_entropy_with_logits against PyTorch."""

from itertools import product

import numpy as np
import pytest
import torch
from accuracy import assert_as_accurate
from refusal import assert_refused
from tolerance import assert_close

import minicnn
from minicnn import functional as F

T = torch.nn.functional
REDUCTIONS = ("mean", "sum", "none")
LOGITS = [(5,), (4, 5), (3, 1), (4, 5, 3), (3, 5, 2, 3), (0, 5), (4, 5, 0), (70, 3), (2, 4, 130), (130, 20)]


def positions(shape):
    """The shape of the loss of logits of this shape."""
    return shape[:1] + shape[2:] if len(shape) > 1 else ()


def classes(shape):
    return shape[min(1, len(shape) - 1)]


def torchs(loss, x, dy, *others, dtype=torch.float64, **settings):
    """PyTorch's loss and the gradient of x; targets that are floating take the dtype too."""
    leaf = torch.tensor(x).to(dtype).requires_grad_()
    others = [torch.tensor(o).to(dtype) if np.issubdtype(o.dtype, np.floating) else torch.tensor(o) for o in others]
    if settings.get("weight") is not None:
        settings["weight"] = torch.tensor(settings["weight"]).to(dtype)
    y = loss(leaf, *others, **settings)
    y.backward(torch.tensor(np.broadcast_to(dy, y.shape)).to(dtype))
    return y.detach().numpy(), leaf.grad.numpy()


def check(ours, backward, theirs, x, *others, rng, length, **settings):
    """Loss and gradient are PyTorch's, of the right types."""
    shape = ours(x, *others, **{**settings, "reduction": "none"})[0].shape
    dy = rng.standard_normal(shape if settings["reduction"] == "none" else ()).astype(x.dtype)
    true_loss, true_dx = torchs(theirs, x, dy, *others, **settings)
    loss, ctx = ours(x, *others, **settings)
    assert loss.dtype == x.dtype
    assert isinstance(loss, np.ndarray if settings["reduction"] == "none" else np.generic)
    assert_close(loss, true_loss, length, what="loss")
    dx = backward(dy if settings["reduction"] == "none" else dy[()], ctx)
    assert dx.dtype == x.dtype
    assert dx.flags.c_contiguous
    assert_close(dx, true_dx, length, what="gradient")
    np.testing.assert_array_equal(backward(dy, ctx), dx)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", LOGITS, ids=str)
def test_cross_entropy_against_torch(backend, shape, dtype, reduction, rng):
    C, N = classes(shape), max(1, int(np.prod(positions(shape))))
    for smoothing, weighted, kind in product((0.0, 0.1, 1.0), (False, True), ("classes", "ignored", "probabilities")):
        x = (3 * rng.standard_normal(shape)).astype(dtype)
        target = np.asarray(rng.integers(0, C, positions(shape)))
        if kind == "ignored":
            target = np.where(rng.random(target.shape) < 0.4, -100, target)
        if kind == "probabilities":
            target = rng.random(shape).astype(dtype)
        check(
            F.cross_entropy, F.cross_entropy_backward, T.cross_entropy, x, target, rng=rng, length=4 * C * N,
            reduction=reduction, label_smoothing=smoothing, weight=rng.random(C).astype(dtype) if weighted else None,
        )  # fmt: skip


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", LOGITS, ids=str)
def test_nll_loss_against_torch(backend, shape, dtype, reduction, rng):
    C, N = classes(shape), max(1, int(np.prod(positions(shape))))
    for ignored, weighted in product((False, True), repeat=2):
        x, target = rng.standard_normal(shape).astype(dtype), np.asarray(rng.integers(0, C, positions(shape)))
        if ignored:
            target = np.where(rng.random(target.shape) < 0.4, -100, target)
        check(
            F.nll_loss, F.nll_loss_backward, T.nll_loss, x, target, rng=rng, length=4 * N,
            reduction=reduction, weight=rng.random(C).astype(dtype) if weighted else None,
        )  # fmt: skip


PAIRS = {
    "mse_loss": (F.mse_loss, F.mse_loss_backward, T.mse_loss),
    "binary_cross_entropy_with_logits": (
        F.binary_cross_entropy_with_logits, F.binary_cross_entropy_with_logits_backward,
        T.binary_cross_entropy_with_logits,
    ),
}  # fmt: skip


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(), (1,), (0,), (7,), (2, 0), (3, 4, 5, 6), (20011,)], ids=str)
@pytest.mark.parametrize("name", PAIRS)
def test_pairs_against_torch(backend, name, shape, dtype, reduction, rng):
    x, target = np.asarray(5 * rng.standard_normal(shape), dtype), np.asarray(rng.random(shape), dtype)
    check(*PAIRS[name], x, target, rng=rng, length=max(1, x.size), reduction=reduction)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4])
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_float32_is_as_accurate_as_torchs(backend, scale, reduction, rng):
    x = (scale * rng.standard_normal((300, 1000))).astype(np.float32)
    index, q = rng.integers(0, 1000, 300), rng.dirichlet(np.ones(1000), 300).astype(np.float32)
    cases = [
        (F.cross_entropy, F.cross_entropy_backward, T.cross_entropy, index, {}),
        (F.cross_entropy, F.cross_entropy_backward, T.cross_entropy, index, {"label_smoothing": 0.1}),
        (F.cross_entropy, F.cross_entropy_backward, T.cross_entropy, q, {}),
        *((*pair, q, {}) for pair in PAIRS.values()),
    ]
    for ours, backward, theirs, target, settings in cases:
        loss, ctx = ours(x, target, reduction=reduction, **settings)
        dy = rng.standard_normal(loss.shape).astype(np.float32)
        truth = torchs(theirs, x, dy, target, reduction=reduction, **settings)
        peer = torchs(theirs, x, dy, target, dtype=torch.float32, reduction=reduction, **settings)
        assert_as_accurate(np.asarray(loss), truth[0], peer[0], "loss")
        assert_as_accurate(backward(dy if reduction == "none" else dy[()], ctx), truth[1], peer[1], "gradient")


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32, np.uint64])
def test_targets_of_any_integer_dtype(backend, dtype, rng):
    x, target = rng.standard_normal((6, 4)), np.array([0, 3, 1, 2, 2, 0])
    for loss in (F.cross_entropy, F.nll_loss):
        assert loss(x, target.astype(dtype))[0] == loss(x, target)[0]
        for stand_in in (77, 2):
            ignored = np.where(target == 2, stand_in, target).astype(dtype)
            assert loss(x, ignored, ignore_index=stand_in)[0] == loss(x, target, ignore_index=2)[0]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_large_logits(backend, dtype):
    x = np.array([[1e4, -1e4, 0], [-1e4, 1e4, 1e4], [1e4, 9999, 9998]], dtype)
    for target in ([0, 1, 2], [1, 0, 0]):
        for smoothing in (0.0, 0.1):
            true_loss, true_dx = torchs(
                T.cross_entropy, x, np.ones(3), np.array(target), reduction="none", label_smoothing=smoothing
            )
            loss, ctx = F.cross_entropy(x, np.array(target), reduction="none", label_smoothing=smoothing)
            np.testing.assert_allclose(loss, true_loss, rtol=1e-5)
            np.testing.assert_allclose(F.cross_entropy_backward(np.ones(3, dtype), ctx), true_dx, rtol=1e-4, atol=1e-7)
    x, target = np.array([1e4, -1e4, 1e4, -1e4, -20], dtype), np.array([1, 0, 0, 1, 0], dtype)
    loss, ctx = F.binary_cross_entropy_with_logits(x, target, "none")
    np.testing.assert_allclose(loss, [0, 0, 1e4, 1e4, np.log1p(np.exp(-20.0))], rtol=1e-6)
    dx = F.binary_cross_entropy_with_logits_backward(np.ones(5, dtype), ctx)
    np.testing.assert_allclose(dx, [0, 0, 1, -1, np.exp(-20.0)], rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_nan_and_infinities_are_torchs(backend, dtype, smoothing):
    inf, nan = np.inf, np.nan
    x = np.array([[1, -inf, 2], [1, -inf, 2], [-inf] * 3, [inf, 1, 2], [nan, 1, 2]], dtype)
    dy = np.arange(1, 6, dtype=dtype)
    for target in (np.array([0, 1, 0, 1, 2]), np.array([[0.5, 0, 0.5]] * 5, dtype)):
        true_loss, true_dx = torchs(T.cross_entropy, x, dy, target, reduction="none", label_smoothing=smoothing)
        loss, ctx = F.cross_entropy(x, target, reduction="none", label_smoothing=smoothing)
        np.testing.assert_allclose(loss, true_loss, rtol=1e-5)
        np.testing.assert_allclose(F.cross_entropy_backward(dy, ctx), true_dx, rtol=1e-5, atol=1e-6)
    for name, x in (("mse_loss", [nan, inf, -inf, 1]), ("binary_cross_entropy_with_logits", [nan, inf, 3, 1])):
        ours, backward, theirs = PAIRS[name]
        x, target = np.array(x, dtype), np.array([0, 0, 1, nan], dtype)
        true_loss, true_dx = torchs(theirs, x, np.ones(4), target, reduction="none")
        loss, ctx = ours(x, target, "none")
        np.testing.assert_allclose(loss, true_loss, rtol=1e-5)
        np.testing.assert_allclose(backward(np.ones(4, dtype), ctx), true_dx, rtol=1e-5)


def test_all_targets_ignored(backend, rng):
    x, weight = rng.standard_normal((3, 4)), rng.random(4)
    for target in (np.full(3, -100), np.full(3, 2, np.uint8)):
        for settings in ({}, {"weight": weight}, {"weight": weight, "label_smoothing": 0.1}, {"label_smoothing": 0.1}):
            settings = {**settings, "ignore_index": int(target[0])}
            loss, ctx = F.cross_entropy(x, target, **settings)
            assert np.isnan(loss)
            np.testing.assert_array_equal(F.cross_entropy_backward(1.0, ctx), np.zeros((3, 4)))
            assert F.cross_entropy(x, target, reduction="sum", **settings)[0] == 0
        loss, ctx = F.nll_loss(x, target, ignore_index=int(target[0]))
        assert np.isnan(loss)
        np.testing.assert_array_equal(F.nll_loss_backward(1.0, ctx), np.zeros((3, 4)))
    loss, ctx = F.cross_entropy(np.zeros((0, 4)), np.zeros(0, int))
    assert np.isnan(loss)
    assert F.cross_entropy_backward(1.0, ctx).shape == (0, 4)
    x[1] = np.nan  # what is ignored may hold anything
    loss, ctx = F.cross_entropy(x, np.array([1, -100, 0]), label_smoothing=0.1)
    assert np.isfinite(loss)
    np.testing.assert_array_equal(F.cross_entropy_backward(1.0, ctx)[1], np.zeros(4))


LOSSES = {
    "cross_entropy": (F.cross_entropy, F.cross_entropy_backward, np.array([1, 0])),
    "nll_loss": (F.nll_loss, F.nll_loss_backward, np.array([1, 0])),
    "mse_loss": (F.mse_loss, F.mse_loss_backward, np.array([[0.5, 1.0, 0.0], [0.1, 0.2, 0.3]])),
    "binary_cross_entropy_with_logits": (
        F.binary_cross_entropy_with_logits, F.binary_cross_entropy_with_logits_backward,
        np.array([[0.5, 1.0, 0.0], [0.1, 0.2, 0.3]]),
    ),
}  # fmt: skip
X = np.array([[0.5, -1.0, 2.0], [3.0, 0.0, -0.5]])


@pytest.fixture(params=LOSSES)
def loss(request):
    return LOSSES[request.param]


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_dy_of_a_number(backend, loss, reduction):
    forward, backward, target = loss
    for dtype in (np.float32, np.float64):
        x = X.astype(dtype)
        _, ctx = forward(x, target if target.dtype.kind == "i" else target.astype(dtype), reduction=reduction)
        expected = backward(1.0, ctx)
        assert expected.dtype == dtype
        for dy in (1, np.float32(1), np.float64(1), np.int64(1), np.array(1.0), np.array(1, np.float32)):
            np.testing.assert_array_equal(backward(dy, ctx), expected)
        np.testing.assert_array_equal(backward(-2.0, ctx), -2 * expected)
        for dy in (None, "1", True, 1j, [1.0], np.array(True)):
            assert_refused(TypeError, "dy must be", lambda dy=dy, ctx=ctx: backward(dy, ctx), x)
        for shape in ((1,), (2,), (2, 3)):
            assert_refused(ValueError, "dy must have", lambda s=shape, c=ctx, d=dtype: backward(np.ones(s, d), c), x)


def test_dy_of_an_array(backend, loss):
    forward, backward, target = loss
    y, ctx = forward(X, target, reduction="none")
    for dy in (None, 1.0, np.float64(1), np.ones(y.shape, np.float32), np.ones(y.shape, int), [1.0]):
        assert_refused((TypeError, ValueError)[isinstance(dy, np.float64)], "dy must", lambda dy=dy: backward(dy, ctx))
    for shape in ((), (1,), (3, 2)):
        assert_refused(ValueError, "dy must have", lambda shape=shape: backward(np.ones(shape), ctx))
    for wrong in (None, tuple(ctx), F.relu(X)[1]):
        assert_refused(TypeError, "ctx must be", lambda wrong=wrong: backward(np.ones(y.shape), wrong))


def test_one_unbatched_position(backend):
    for forward, backward in ((F.cross_entropy, F.cross_entropy_backward), (F.nll_loss, F.nll_loss_backward)):
        expected, batch = forward(X[:1], np.array([2]), reduction="none")
        for target in (2, np.int32(2), np.array(2)):
            y, ctx = forward(X[0], target, reduction="none")
            assert y.shape == ()
            assert y == expected[0]
            dx = backward(np.array(3.0), ctx)
            np.testing.assert_array_equal(dx, backward(np.array([3.0]), batch)[0])


def test_any_strides_and_contexts_refer_to_what_was_passed(backend, loss, rng):
    forward, backward, target = loss
    x = np.asfortranarray(X.copy())
    x.flags.writeable = False
    strided = np.repeat(target, 2, axis=-1)[..., ::2]
    strided.flags.writeable = False
    for reduction in REDUCTIONS:
        y, ctx = forward(x, strided, reduction=reduction)
        expected, expected_ctx = forward(X, target, reduction=reduction)
        np.testing.assert_array_equal(y, expected)
        dy = np.asfortranarray(rng.standard_normal(y.shape)) if reduction == "none" else 1.5
        dx = backward(dy, ctx)
        assert dx.flags.c_contiguous
        np.testing.assert_array_equal(dx, backward(np.ascontiguousarray(dy) if y.shape else dy, expected_ctx))
    x = X.copy()
    _, ctx = forward(x, target)
    assert ctx[0] is x
    x *= -2
    np.testing.assert_array_equal(backward(1.0, ctx), backward(1.0, forward(x.copy(), target)[1]))
    with minicnn.no_grad():
        assert forward(x, target)[1] is None


def test_bad_calls(backend, loss):
    forward, _, target = loss
    name = "x" if forward in (F.mse_loss, F.binary_cross_entropy_with_logits) else None
    for wrong in (None, 1.0, [[1.0]], np.ones((2, 3), int), np.ones((2, 3), bool), np.ones((2, 3), complex)):
        assert_refused(TypeError, name or "log", lambda wrong=wrong: forward(wrong, target), target)
    for wrong in (None, "a", [1, 0], np.ones(target.shape, bool), np.ones(target.shape, complex), True):
        assert_refused(TypeError, "target must be", lambda wrong=wrong: forward(X, wrong), X)
    for shape in ((), (1,), (3,), (2, 2), (2, 3, 1)):
        wrong = np.zeros(shape, target.dtype)
        assert_refused(ValueError, "target must have", lambda wrong=wrong: forward(X, wrong), X)
    for reduction in ("average", "", "MEAN"):
        assert_refused(ValueError, "reduction", lambda r=reduction: forward(X, target, reduction=r), X)
    for reduction in (None, 1, True, ["mean"]):
        assert_refused(TypeError, "reduction", lambda r=reduction: forward(X, target, reduction=r), X)
    if name:
        assert_refused(TypeError, "target must be", lambda: forward(X, target.astype(np.float32)), X)


@pytest.mark.parametrize("forward", [F.cross_entropy, F.nll_loss])
def test_bad_calls_of_class_losses(backend, forward):
    target = np.array([1, 0])
    for values, dtype in (([3, 0], int), ([-1, 0], int), ([0, -101], int), ([2**63 + 1, 0], "u8"), ([255, 0], "u1")):
        wrong = np.array(values, dtype)
        assert_refused(IndexError, "target must be", lambda wrong=wrong: forward(X, wrong), X, wrong)
    for ignore_index in (None, 1.0, "1", True):
        assert_refused(TypeError, "ignore_index", lambda i=ignore_index: forward(X, target, ignore_index=i))
    assert_refused(ValueError, "ignore_index", lambda: forward(X, target, ignore_index=2**70))
    for weight in ("a", [1.0, 1.0, 1.0], np.ones(3, int), np.ones(3, np.float32), 1.0):
        assert_refused(TypeError, "weight must be", lambda w=weight: forward(X, target, w), X)
    for shape in ((), (2,), (4,), (1, 3)):
        assert_refused(ValueError, "weight must have", lambda s=shape: forward(X, target, np.ones(s)), X)
    assert_refused(ValueError, "must be (N, C)", lambda: forward(np.array(1.0), target))
    assert_refused(ValueError, "at least one class", lambda: forward(np.ones((2, 0)), target))
    assert_refused(TypeError, "class indices", lambda: forward(X, np.ones(2)))
    wrong = X.copy()
    _, ctx = forward(wrong, target := np.array([1, 0]))
    target[0] = 7  # a target that was changed since is checked again
    backward = F.cross_entropy_backward if forward is F.cross_entropy else F.nll_loss_backward
    assert_refused(IndexError, "target must be", lambda: backward(1.0, ctx), wrong)


def test_bad_calls_of_cross_entropy(backend):
    target, q = np.array([1, 0]), np.full((2, 3), 1 / 3)
    for smoothing in (-0.1, 1.1, float("nan"), float("inf")):
        assert_refused(ValueError, "label_smoothing", lambda s=smoothing: F.cross_entropy(X, target, label_smoothing=s))
    for smoothing in (None, "0", True, np.ones(1)):
        assert_refused(TypeError, "label_smoothing", lambda s=smoothing: F.cross_entropy(X, target, label_smoothing=s))
    for ignore_index in (0, 5):
        assert_refused(ValueError, "ignore_index", lambda i=ignore_index: F.cross_entropy(X, q, ignore_index=i))
    assert_refused(TypeError, "target must be", lambda: F.cross_entropy(X, q.astype(np.float32)))
    assert_refused(ValueError, "target must have", lambda: F.cross_entropy(X, q[:, :2]))
    assert_refused(TypeError, "class indices", lambda: F.nll_loss(X, q))


def test_losses_of_transposed_arrays_are_contiguous(backend, rng):
    x, target = rng.standard_normal((3, 4)).T, rng.random((3, 4)).T
    log_probs, classes = rng.standard_normal((2, 5, 3)).transpose(0, 2, 1), rng.integers(0, 3, (5, 2)).T
    for y in (
        F.mse_loss(x, target, reduction="none")[0],
        F.binary_cross_entropy_with_logits(x, target, reduction="none")[0],
        F.nll_loss(log_probs, classes, reduction="none")[0],
        F.cross_entropy(log_probs, classes, reduction="none")[0],
    ):
        assert y.flags.c_contiguous
