"""add and dropout."""

import numpy as np
import pytest
from refusal import assert_refused

import minicnn
from minicnn import functional as F
from minicnn.functional import dropout, dropout_backward


@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 3, 4, 5), (20011,)], ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_add(backend, shape, dtype, rng):
    a, b, dy = (np.asarray(rng.standard_normal(shape), dtype) for _ in range(3))
    y, ctx = F.add(a, b)
    assert isinstance(y, np.ndarray)
    assert y.dtype == dtype
    np.testing.assert_array_equal(y, a + b)
    da, db = F.add_backward(dy, ctx)
    np.testing.assert_array_equal(da, dy)
    np.testing.assert_array_equal(db, dy)
    assert not any(np.shares_memory(u, v) for u, v in ((da, db), (da, dy), (db, dy)) if dy.size)


def test_add_of_any_strides_and_infinities(backend, rng):
    a, b = rng.standard_normal((3, 4)), np.asfortranarray(rng.standard_normal((3, 4)))
    a.flags.writeable = False
    y, ctx = F.add(a.T, b.T)
    assert y.flags.c_contiguous
    np.testing.assert_array_equal(y, a.T + b.T)
    assert all(gradient.flags.c_contiguous for gradient in F.add_backward(np.asfortranarray(y), ctx))
    y, _ = F.add(np.array([np.inf, np.inf, np.nan]), np.array([np.inf, -np.inf, 1]))
    np.testing.assert_array_equal(y, [np.inf, np.nan, np.nan])


def test_add_bad_calls(backend):
    a = np.ones((2, 3))
    for wrong in (None, 1.0, [1.0], np.ones((2, 3), int), np.ones((2, 3), bool)):
        assert_refused(TypeError, "a must be", lambda wrong=wrong: F.add(wrong, a), a)
        assert_refused(TypeError, "b must be", lambda wrong=wrong: F.add(a, wrong), a)
    assert_refused(TypeError, "b must be", lambda: F.add(a, a.astype(np.float32)), a)
    for shape in ((3,), (1, 3), (3, 2), ()):
        assert_refused(ValueError, "b must have", lambda shape=shape: F.add(a, np.ones(shape)), a)
    _, ctx = F.add(a, a)
    assert_refused(ValueError, "dy must have", lambda: F.add_backward(np.ones(3), ctx), a)
    assert_refused(TypeError, "dy must be", lambda: F.add_backward(a.astype(np.float32), ctx), a)
    assert_refused(TypeError, "ctx must be", lambda: F.add_backward(a, None), a)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dropout_scales_what_it_keeps(backend, dtype, rng):
    x, dy = rng.standard_normal((40, 50)).astype(dtype), rng.standard_normal((40, 50)).astype(dtype)
    y, ctx = dropout(x, 0.3, rng=np.random.default_rng(1))
    assert y.dtype == dtype
    assert y.flags.c_contiguous
    keep = np.random.default_rng(1).random(x.shape, dtype=np.float32) >= 0.3
    scale = dtype(1 / 0.7)
    np.testing.assert_array_equal(y, np.where(keep, x * scale, 0))
    np.testing.assert_array_equal(dropout_backward(dy, ctx), np.where(keep, dy * scale, 0))
    np.testing.assert_array_equal(dropout_backward(np.asfortranarray(dy), ctx), np.where(keep, dy * scale, 0))


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_dropout_keeps_the_right_share(backend, p):
    y, _ = dropout(np.ones(200_000), p, rng=np.random.default_rng(2))
    sigma = np.sqrt(p * (1 - p) / y.size)
    assert abs((y == 0).mean() - p) < 5 * sigma
    assert abs(y.mean() - 1) < 5 * sigma / (1 - p)


def test_dropout_masks_repeat_and_do_not_depend_on_dtype_backend_or_strides(rng):
    x = rng.standard_normal((30, 20))
    results = []
    for name in ("reference", "cpu"):
        with minicnn.backend(name):
            for image in (x, x.astype(np.float32), np.asfortranarray(x)):
                minicnn.manual_seed(5)
                results.append(dropout(image, 0.4)[0] != 0)
    for mask in results[1:]:
        np.testing.assert_array_equal(mask, results[0])
    assert (dropout(x, 0.4)[0] != 0).tolist() != results[0].tolist()  # the stream moves on
    generator = np.random.default_rng(3)
    assert (dropout(x, 0.4, rng=generator)[0] != dropout(x, 0.4, rng=generator)[0]).any()


def test_dropout_of_nothing_or_everything(backend, rng):
    x, dy = rng.standard_normal((3, 4)), rng.standard_normal((3, 4))
    state = np.random.default_rng(0)
    for settings in ({"p": 0.0}, {"training": False}, {"p": 1.0, "training": False}):
        y, ctx = dropout(x, rng=state, **settings)
        assert y is x
        dx = dropout_backward(dy, ctx)
        np.testing.assert_array_equal(dx, dy)
        assert not np.shares_memory(dx, dy)
    assert state.random() == np.random.default_rng(0).random()  # nothing was drawn
    y, ctx = dropout(np.array([1.0, np.nan, np.inf]), 1.0)
    np.testing.assert_array_equal(y, [0, np.nan, np.nan])  # as in PyTorch: x · 0
    np.testing.assert_array_equal(dropout_backward(np.ones(3), ctx), np.zeros(3))
    assert dropout(np.zeros((0, 3)))[0].shape == (0, 3)
    with minicnn.no_grad():
        assert dropout(x)[1] is None


def test_dropout_bad_calls(backend):
    x = np.ones((2, 3))
    for wrong in (None, 1.0, np.ones(3, int), np.ones(3, bool)):
        assert_refused(TypeError, "x must be", lambda wrong=wrong: dropout(wrong))
    for p in (-0.1, 1.1, float("nan"), float("inf"), 2):
        assert_refused(ValueError, "p must be", lambda p=p: dropout(x, p), x)
    for p in (None, "0.5", True, 1j, np.ones(1)):
        assert_refused(TypeError, "p must be", lambda p=p: dropout(x, p), x)
    for training in (None, 1, "yes"):
        assert_refused(TypeError, "training must be", lambda training=training: dropout(x, training=training), x)
    for generator in (0, np.random, np.random.RandomState(0), "seed"):
        assert_refused(TypeError, "rng must be", lambda generator=generator: dropout(x, rng=generator), x)
    _, ctx = dropout(x)
    assert_refused(ValueError, "dy must have", lambda: dropout_backward(np.ones(3), ctx), x)
    assert_refused(TypeError, "dy must be", lambda: dropout_backward(x.astype(np.float32), ctx), x)
    assert_refused(TypeError, "ctx must be", lambda: dropout_backward(x, None), x)
