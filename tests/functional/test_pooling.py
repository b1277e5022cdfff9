"""Pooling: torch as truth, its corners included."""

import checks
import numpy as np
import pytest
import torch
from cases import (
    ADAPTIVE_SIZES,
    DILATIONS,
    DTYPES,
    POOLS,
    VALUES,
    all_minus_infinity,
    each,
    ordinary,
    settings_of,
    ties,
)
from contract import assert_contract
from refusals import check_refusals
from tolerance import assert_close

from minicnn import functional as F


def fits(case, dilation):
    """Whether torch takes the case with this dilation."""
    try:
        torch.nn.functional.max_pool2d(torch.zeros(case.x), dilation=dilation, **settings_of(case, "x"))
    except RuntimeError:
        return False
    return True


DILATED = [(case, dilation) for case in POOLS for dilation in DILATIONS if fits(case, dilation)]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("values", VALUES)
@pytest.mark.parametrize(("case", "dilation"), DILATED, ids=[f"{case.id}-{dilation}" for case, dilation in DILATED])
def test_max_pool_agrees_with_torch(backend, case, dilation, values, dtype, rng):
    """To the bit: y and the indices, so ties, NaN and windows of −inf too; dx is a sum of dy."""
    x = values(case.x, rng).astype(dtype)
    settings = {**settings_of(case, "x"), "dilation": dilation}
    tx = torch.tensor(x, requires_grad=True)
    truth, indices = torch.nn.functional.max_pool2d_with_indices(tx, **settings)
    y, ctx = F.max_pool2d(x, **settings)
    np.testing.assert_array_equal(y, truth.detach().numpy())
    np.testing.assert_array_equal(ctx.indices, indices.numpy())
    assert y.dtype == x.dtype
    assert ctx.indices.dtype == np.int64
    dy = rng.standard_normal(y.shape).astype(dtype)
    truth.backward(torch.tensor(dy))
    dx = F.max_pool2d_backward(dy, ctx)
    assert dx.dtype == x.dtype
    assert_close(dx, tx.grad.numpy(), 9, what="dx")


def test_a_dilated_window_without_pixels(backend):
    """Its taps lie on both sides of the image: −inf, index −1, and its gradient goes nowhere."""
    y, ctx = F.max_pool2d(np.ones((1, 1, 1, 1)), 2, 1, 1, 2)
    np.testing.assert_array_equal(y, [[[[-np.inf]]]])
    np.testing.assert_array_equal(ctx.indices, [[[[-1]]]])
    np.testing.assert_array_equal(F.max_pool2d_backward(np.ones((1, 1, 1, 1)), ctx), [[[[0.0]]]])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("divisor", [None, 3, -2])
@pytest.mark.parametrize("count_include_pad", [True, False])
@each(POOLS)
def test_avg_pool_agrees_with_torch(backend, case, count_include_pad, divisor, dtype):
    checks.avg_pool2d(
        **settings_of(case), count_include_pad=count_include_pad, divisor_override=divisor, dtype=np.dtype(dtype).type
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("output_size", ADAPTIVE_SIZES, ids=str)
@pytest.mark.parametrize("shape", [(2, 3, 7, 7), (1, 2, 5, 9), (0, 2, 4, 4), (3, 6, 5), (2, 1, 1, 1)], ids=str)
def test_adaptive_avg_pool_agrees_with_torch(backend, shape, output_size, dtype):
    checks.adaptive_avg_pool2d(shape, output_size, np.dtype(dtype).type)


def test_adaptive_avg_pool_to_nothing(backend):
    y, ctx = F.adaptive_avg_pool2d(np.ones((2, 3, 4, 5)), (0, 2))
    assert y.shape == (2, 3, 0, 2)
    np.testing.assert_array_equal(F.adaptive_avg_pool2d_backward(y, ctx), np.zeros((2, 3, 4, 5)))


@pytest.mark.parametrize("values", VALUES)
@each(POOLS)
def test_averages_of_nan_and_infinities(backend, case, values, rng):
    x = values(case.x, rng)
    expected = torch.nn.functional.avg_pool2d(torch.tensor(x), **settings_of(case, "x"))
    assert_close(F.avg_pool2d(x, **settings_of(case, "x"))[0], expected.numpy(), x.size, what="avg_pool2d")
    expected = torch.nn.functional.adaptive_avg_pool2d(torch.tensor(x), (2, 1))
    assert_close(F.adaptive_avg_pool2d(x, (2, 1))[0], expected.numpy(), x.size, what="adaptive_avg_pool2d")


@pytest.mark.parametrize("op", [F.max_pool2d, F.avg_pool2d])
def test_a_kernel_far_above_the_image(backend, op, rng):
    """In ceil mode a window is only as large as what it sees."""
    x = rng.standard_normal((1, 2, 3, 4))
    y, _ = op(x, 2**31 - 1, ceil_mode=True)
    assert y.shape == (1, 2, 1, 1)
    assert_close(y[..., 0, 0], x.max((2, 3)) if op is F.max_pool2d else x.mean((2, 3)), 12)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("values", [ordinary, ties, all_minus_infinity])
@pytest.mark.parametrize("name", ["max_pool2d", "avg_pool2d", "adaptive_avg_pool2d"])
def test_contract(backend, name, values, rng, dtype):
    sizes = ((3, 2),) if name == "adaptive_avg_pool2d" else ((3, 2), (2, 1), 1)

    def op(x):
        return getattr(F, name)(x, *sizes)

    assert_contract(op, getattr(F, f"{name}_backward"), [values((2, 3, 7, 6), rng).astype(dtype)], rng)


@pytest.mark.parametrize("name", ["max_pool2d", "avg_pool2d", "adaptive_avg_pool2d"])
def test_a_context_does_not_hold_the_images(backend, name):
    ctx = getattr(F, name)(np.zeros((1, 1, 64, 64)), 2)[1]
    held = sum(field.nbytes for field in ctx if isinstance(field, np.ndarray))
    assert held == (32 * 32 * ctx.places.itemsize if name == "max_pool2d" else 0)
    assert all(field.base is None for field in ctx if isinstance(field, np.ndarray) and not field.size)


X = np.zeros((2, 3, 6, 5))
HUGE = 2**62
WINDOWS = [
    ("x-none", {"x": None}, TypeError, "x"),
    ("x-integers", {"x": X.astype(int)}, TypeError, "x"),
    ("x-rank", {"x": X[0, 0]}, ValueError, "x"),
    ("x-no-channels", {"x": X[:, :0]}, ValueError, "x"),
    ("x-no-rows", {"x": X[:, :, :0]}, ValueError, "x"),
    ("kernel-zero", {"kernel_size": 0}, ValueError, "kernel_size"),
    ("kernel-negative", {"kernel_size": (2, -2)}, ValueError, "kernel_size"),
    ("kernel-too-large", {"kernel_size": 7}, ValueError, "kernel_size"),
    ("kernel-huge", {"kernel_size": HUGE}, ValueError, "kernel_size"),
    ("kernel-huge-ceil", {"kernel_size": HUGE, "ceil_mode": True}, ValueError, "kernel_size"),
    ("kernel-beyond-int64", {"kernel_size": 2**70}, ValueError, "kernel_size"),
    ("kernel-float", {"kernel_size": 2.0}, TypeError, "kernel_size"),
    ("kernel-bool", {"kernel_size": True}, TypeError, "kernel_size"),
    ("kernel-none", {"kernel_size": None}, TypeError, "kernel_size"),
    ("kernel-triple", {"kernel_size": (2, 2, 2)}, ValueError, "kernel_size"),
    ("stride-zero", {"stride": 0}, ValueError, "stride"),
    ("stride-huge", {"stride": HUGE}, ValueError, "stride"),
    ("stride-empty", {"stride": ()}, ValueError, "stride"),
    ("stride-float", {"stride": (1, 1.5)}, TypeError, "stride"),
    ("padding-negative", {"padding": -1}, ValueError, "padding"),
    ("padding-above-half", {"padding": 2}, ValueError, "padding"),
    ("padding-huge", {"padding": HUGE}, ValueError, "padding"),
    ("padding-name", {"padding": "same"}, TypeError, "padding"),
    ("ceil-mode-int", {"ceil_mode": 1}, TypeError, "ceil_mode"),
    ("dy-shape", {"dy": np.zeros((2, 3, 2, 2))}, ValueError, "dy"),
    ("dy-dtype", {"dy": np.zeros((2, 3, 2, 1), np.float32)}, TypeError, "dy"),
    ("ctx-none", {"ctx": None}, TypeError, "ctx"),
    ("ctx-other", {"ctx": F.relu(X)[1]}, TypeError, "ctx"),
]
GOOD = {"x": X, "kernel_size": 3}
test_max_pool_refusals = check_refusals(
    F.max_pool2d,
    F.max_pool2d_backward,
    GOOD,
    [
        *WINDOWS,
        ("dilation-zero", {"dilation": 0}, ValueError, "dilation"),
        ("dilation-too-large", {"dilation": 3}, ValueError, "dilation"),
        ("dilation-huge", {"dilation": HUGE}, ValueError, "dilation"),
        ("dilation-none", {"dilation": None}, TypeError, "dilation"),
    ],
)
test_avg_pool_refusals = check_refusals(
    F.avg_pool2d,
    F.avg_pool2d_backward,
    GOOD,
    [
        *WINDOWS,
        ("count-include-pad-none", {"count_include_pad": None}, TypeError, "count_include_pad"),
        ("divisor-zero", {"divisor_override": 0}, ValueError, "divisor_override"),
        ("divisor-float", {"divisor_override": 2.0}, TypeError, "divisor_override"),
        ("divisor-bool", {"divisor_override": True}, TypeError, "divisor_override"),
        ("divisor-huge", {"divisor_override": 2**70}, ValueError, "divisor_override"),
    ],
)
test_adaptive_avg_pool_refusals = check_refusals(
    F.adaptive_avg_pool2d,
    F.adaptive_avg_pool2d_backward,
    {"x": X, "output_size": 2},
    [
        ("x-none", {"x": None}, TypeError, "x"),
        ("x-rank", {"x": X[0, 0]}, ValueError, "x"),
        ("size-negative", {"output_size": -1}, ValueError, "output_size"),
        ("size-none", {"output_size": None}, TypeError, "output_size"),
        ("size-float", {"output_size": (2.0, 2)}, TypeError, "output_size"),
        ("size-bool", {"output_size": False}, TypeError, "output_size"),
        ("size-triple", {"output_size": (1, None, 1)}, ValueError, "output_size"),
        ("size-huge", {"output_size": HUGE}, ValueError, "output_size"),
        ("dy-shape", {"dy": np.zeros((2, 3, 2, 3))}, ValueError, "dy"),
        ("dy-dtype", {"dy": np.zeros((2, 3, 2, 2), np.float32)}, TypeError, "dy"),
        ("ctx-none", {"ctx": None}, TypeError, "ctx"),
    ],
)
