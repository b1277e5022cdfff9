"""Random configurations of the operations with many settings, drawn by hypothesis with a fixed seed, against torch."""

import checks
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import assume, given

import minicnn

BACKENDS = pytest.mark.parametrize("name", ["reference", "cpu"])
DTYPES = st.sampled_from([np.float64, np.float32])
small = st.integers(1, 3)
side = st.integers(1, 9)


def pairs(low, high):
    return st.tuples(st.integers(low, high), st.integers(low, high))


@BACKENDS
@given(
    n=st.integers(0, 3), groups=small, channels=small, filters=small, size=st.tuples(side, side), kernel=pairs(1, 4),
    stride=pairs(1, 3), padding=pairs(0, 3), dilation=pairs(1, 3), bias=st.booleans(), dtype=DTYPES,
)  # fmt: skip
def test_conv2d(name, n, groups, channels, filters, size, kernel, stride, padding, dilation, bias, dtype):
    for axis in (0, 1):
        assume(size[axis] + 2 * padding[axis] > dilation[axis] * (kernel[axis] - 1))
    with minicnn.backend(name):
        checks.conv2d(
            (n, channels * groups, *size), filters * groups, kernel, stride, padding, dilation, groups, bias, dtype
        )


@BACKENDS
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
@given(groups=small, size=st.tuples(side, side), kernel=pairs(1, 4), dilation=pairs(1, 3), dtype=DTYPES)
def test_conv2d_same(name, groups, size, kernel, dilation, dtype):
    with minicnn.backend(name):
        checks.conv2d((2, 2 * groups, *size), groups, kernel, 1, "same", dilation, groups, dtype=dtype)


@BACKENDS
@given(
    n=st.integers(1, 2), groups=small, channels=small, filters=small, size=st.tuples(side, side), kernel=pairs(1, 4),
    stride=pairs(1, 3), padding=pairs(0, 2), extra=pairs(0, 2), dilation=pairs(1, 2), bias=st.booleans(), dtype=DTYPES,
)  # fmt: skip
def test_conv_transpose2d(
    name, n, groups, channels, filters, size, kernel, stride, padding, extra, dilation, bias, dtype
):
    for axis in (0, 1):
        assume(extra[axis] < max(stride[axis], dilation[axis]))
        reach = dilation[axis] * (kernel[axis] - 1) + 1
        assume((size[axis] - 1) * stride[axis] - 2 * padding[axis] + reach + extra[axis] > 0)
    with minicnn.backend(name):
        checks.conv_transpose2d(
            (n, channels * groups, *size), filters, kernel, stride, padding, extra, groups, dilation, bias, dtype
        )


@BACKENDS
@given(
    size=st.tuples(side, side), kernel=pairs(1, 4), stride=st.none() | pairs(1, 4), padding=pairs(0, 2),
    dilation=pairs(1, 2), ceil_mode=st.booleans(), ties=st.booleans(), dtype=DTYPES,
)  # fmt: skip
def test_max_pool2d(name, size, kernel, stride, padding, dilation, ceil_mode, ties, dtype):
    for axis in (0, 1):
        assume(padding[axis] <= kernel[axis] // 2)
        assume(size[axis] + 2 * padding[axis] > dilation[axis] * (kernel[axis] - 1))
        # a dilated window between whose cells the whole image lies is not specified
        assume(dilation[axis] == 1 or size[axis] >= dilation[axis])
    settings = {"kernel_size": kernel, "padding": padding, "dilation": dilation, "ceil_mode": ceil_mode}
    with minicnn.backend(name):
        checks.max_pool2d((2, 2, *size), ties, dtype, stride=stride or kernel, **settings)


@BACKENDS
@given(
    size=st.tuples(side, side), kernel=pairs(1, 4), stride=st.none() | pairs(1, 4), padding=pairs(0, 2),
    ceil_mode=st.booleans(), count_include_pad=st.booleans(), divisor=st.sampled_from([None, 3, -2]), dtype=DTYPES,
)  # fmt: skip
def test_avg_pool2d(name, size, kernel, stride, padding, ceil_mode, count_include_pad, divisor, dtype):
    for axis in (0, 1):
        assume(padding[axis] <= kernel[axis] // 2)
        assume(size[axis] + 2 * padding[axis] >= kernel[axis])
    with minicnn.backend(name):
        checks.avg_pool2d(
            (2, 2, *size), dtype, kernel_size=kernel, stride=stride, padding=padding, ceil_mode=ceil_mode,
            count_include_pad=count_include_pad, divisor_override=divisor,
        )  # fmt: skip


@BACKENDS
@given(size=st.tuples(side, side), output=st.tuples(st.none() | side, st.none() | side), dtype=DTYPES)
def test_adaptive_avg_pool2d(name, size, output, dtype):
    with minicnn.backend(name):
        checks.adaptive_avg_pool2d((2, 2, *size), output, dtype)


@BACKENDS
@given(
    n=st.integers(1, 4), channels=small, rest=st.lists(st.integers(1, 4), max_size=3), training=st.booleans(),
    affine=st.booleans(), momentum=st.floats(0, 1), eps=st.sampled_from([1e-5, 1e-3, 1.0]),
    mean=st.sampled_from([0.0, 10.0]), running=st.booleans(), dtype=DTYPES,
)  # fmt: skip
def test_batch_norm(name, n, channels, rest, training, affine, momentum, eps, mean, running, dtype):
    # of two values a channel x̂ is ±1 whatever they are: the gradient is the small difference of large terms
    assume(n * int(np.prod(rest)) > 2 or not training)
    with minicnn.backend(name):
        checks.batch_norm((n, channels, *rest), training, affine, momentum, eps, mean, dtype, running or not training)


@BACKENDS
@given(
    size=st.tuples(side, side), out=st.tuples(side, side), factors=st.none() | st.tuples(*[st.floats(0.3, 3.0)] * 2),
    mode=st.sampled_from(["nearest", "bilinear"]), align_corners=st.booleans(), dtype=DTYPES,
)  # fmt: skip
def test_interpolate(name, size, out, factors, mode, align_corners, dtype):
    if factors is not None:
        assume(all(int(length * factor) >= 1 for length, factor in zip(size, factors)))
    corners = align_corners and mode == "bilinear"
    chosen = {"size": out} if factors is None else {"scale_factor": factors}
    with minicnn.backend(name):
        checks.interpolate((2, 2, *size), dtype, mode=mode, align_corners=corners, **chosen)


@BACKENDS
@given(
    n=st.integers(1, 4), classes=st.integers(1, 5), rest=st.lists(st.integers(1, 3), max_size=2),
    weighted=st.booleans(), ignored=st.booleans(), probabilities=st.booleans(),
    reduction=st.sampled_from(["mean", "sum", "none"]), label_smoothing=st.sampled_from([0.0, 0.1, 1.0]),
    scale=st.sampled_from([1.0, 100.0]), dtype=DTYPES,
)  # fmt: skip
def test_cross_entropy(
    name, n, classes, rest, weighted, ignored, probabilities, reduction, label_smoothing, scale, dtype
):
    with minicnn.backend(name):
        checks.cross_entropy(
            (n, classes, *rest), weighted, ignored, probabilities, reduction, label_smoothing, scale, dtype
        )
