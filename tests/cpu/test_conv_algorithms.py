"""The cpu backend's convolutions against the reference in float64, every algorithm, and what each promises."""

import numpy as np
import pytest
from tolerance import assert_close

import minicnn
from minicnn.backends import cpu, reference

# x, weight, stride, padding (top, bottom, left, right), dilation, groups
CASES = {
    "plain 3x3": ((2, 3, 9, 8), (5, 3, 3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 1),
    "no padding": ((1, 4, 7, 7), (8, 4, 3, 3), (1, 1), (0, 0, 0, 0), (1, 1), 1),
    "one channel": ((3, 1, 28, 28), (32, 1, 3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 1),
    "deep small maps": ((3, 40, 7, 7), (72, 40, 3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 1),
    "K above a block": ((1, 70, 6, 5), (9, 70, 3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 1),
    "many pixels": ((2, 3, 40, 41), (4, 3, 3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 1),
    "stem": ((2, 3, 31, 30), (16, 3, 7, 7), (2, 2), (3, 3, 3, 3), (1, 1), 1),
    "strided": ((2, 8, 15, 14), (12, 8, 3, 3), (2, 2), (1, 1, 1, 1), (1, 1), 1),
    "1x1": ((2, 16, 9, 9), (24, 16, 1, 1), (1, 1), (0, 0, 0, 0), (1, 1), 1),
    "1x1 strided": ((2, 16, 9, 10), (24, 16, 1, 1), (2, 2), (0, 0, 0, 0), (1, 1), 1),
    "1x1 padded": ((2, 3, 4, 4), (5, 3, 1, 1), (1, 1), (1, 1, 2, 2), (1, 1), 1),
    "stride above kernel": ((2, 3, 11, 11), (4, 3, 2, 2), (4, 3), (0, 0, 1, 1), (1, 1), 1),
    "unequal everything": ((2, 4, 12, 9), (6, 4, 2, 3), (2, 1), (2, 0, 1, 3), (1, 2), 1),
    "dilated": ((2, 3, 13, 12), (4, 3, 3, 3), (1, 1), (2, 2, 2, 2), (2, 2), 1),
    "dilated and strided": ((1, 3, 14, 15), (4, 3, 3, 2), (2, 3), (1, 2, 0, 1), (3, 2), 1),
    "groups": ((2, 6, 8, 7), (9, 2, 3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 3),
    "depthwise": ((2, 6, 8, 7), (6, 1, 3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 6),
    "depthwise, two filters": ((2, 3, 9, 8), (6, 1, 3, 3), (2, 2), (1, 0, 0, 1), (1, 1), 3),
    "padding above kernel": ((1, 2, 4, 4), (3, 2, 3, 3), (1, 1), (4, 3, 5, 4), (1, 1), 1),
    "one output": ((2, 5, 3, 3), (7, 5, 3, 3), (1, 1), (0, 0, 0, 0), (1, 1), 1),
    "no images": ((0, 3, 8, 8), (4, 3, 3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 1),
    "no channels": ((2, 0, 5, 5), (4, 0, 3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 1),
    "rows left over": ((1, 2, 10, 10), (3, 2, 3, 3), (4, 4), (0, 0, 0, 0), (1, 1), 1),
}
BOUNDS = {"im2col": 5e-6, "direct": 5e-6, "auto": 5e-5, "winograd": 1e-4}


def make(case, rng, dtype):
    """Random x, weight, bias and dy of a case, and the settings."""
    x_shape, w_shape, *settings = CASES[case]
    x, weight, bias = (rng.standard_normal(s) for s in (x_shape, w_shape, w_shape[:1]))
    y = reference.conv2d_forward(x, weight, bias, *settings)
    dy = rng.standard_normal(y.shape)
    return [a.astype(dtype) for a in (x, weight, bias, dy)], settings


def all_three(backend, x, weight, bias, dy, settings):
    return (
        backend.conv2d_forward(x, weight, bias, *settings),
        backend.conv2d_input_grad(dy, weight, x.shape, *settings),
        backend.conv2d_weight_grad(dy, x, weight.shape, *settings),
    )


@pytest.mark.parametrize("algorithm", BOUNDS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("case", CASES)
def test_against_the_reference(case, dtype, algorithm, rng):
    (x, weight, bias, dy), settings = make(case, rng, dtype)
    expected = all_three(reference, *(a.astype(np.float64) for a in (x, weight, bias, dy)), settings)
    with minicnn.conv_algorithm(algorithm):
        actual = all_three(cpu, x, weight, bias, dy, settings)
    length = max(1, weight[0].size, dy.shape[0] * dy.shape[2] * dy.shape[3])
    for what, result, truth in zip(("y", "dx", "dweight"), actual, expected):
        assert result.dtype == dtype
        assert result.flags.c_contiguous
        if dtype == np.float64:
            assert_close(result, truth, length, what=what)
        elif result.size:
            error = np.abs(result - truth).max() / max(1e-30, np.abs(truth).max())
            assert error <= BOUNDS[algorithm], f"{what}: {error:.1e} of the largest value"


@pytest.mark.parametrize("algorithm", BOUNDS)
@pytest.mark.parametrize("case", CASES)
def test_same_bits_on_any_number_of_threads(case, algorithm, rng):
    (x, weight, bias, dy), settings = make(case, rng, np.float32)
    before, results = minicnn.get_num_threads(), []
    try:
        for threads in (1, 2):
            minicnn.set_num_threads(min(threads, before))
            with minicnn.conv_algorithm(algorithm):
                results.append(all_three(cpu, x, weight, bias, dy, settings))
    finally:
        minicnn.set_num_threads(before)
    for one, two in zip(*results):
        assert one.tobytes() == two.tobytes()


@pytest.mark.parametrize("algorithm", ["im2col", "direct"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("where", ["x", "weight", "dy"])
@pytest.mark.parametrize("case", ["plain 3x3", "strided", "groups", "depthwise", "1x1 strided", "dilated and strided"])
def test_nan_and_infinity_stay_where_the_reference_has_them(case, where, value, algorithm, rng):
    (x, weight, bias, dy), settings = make(case, rng, np.float32)
    target = {"x": x, "weight": weight, "dy": dy}[where]
    target.flat[rng.integers(target.size)] = value
    target.flat[0] = value
    target.flat[-1] = -value
    with np.errstate(invalid="ignore"):
        expected = all_three(reference, x, weight, bias, dy, settings)
    with minicnn.conv_algorithm(algorithm):
        actual = all_three(cpu, x, weight, bias, dy, settings)
    for result, truth in zip(actual, expected):
        np.testing.assert_array_equal(np.isnan(result), np.isnan(truth))
        np.testing.assert_array_equal(np.isposinf(result), np.isposinf(truth))
        np.testing.assert_array_equal(np.isneginf(result), np.isneginf(truth))


@pytest.mark.parametrize("algorithm", BOUNDS)
def test_results_are_never_overwritten(algorithm, rng):
    (x, weight, bias, dy), settings = make("deep small maps", rng, np.float32)
    with minicnn.conv_algorithm(algorithm):
        first = all_three(cpu, x, weight, bias, dy, settings)
        kept = [a.copy() for a in first]
        all_three(cpu, -2 * x, weight + 1, bias, 3 * dy, settings)
    for result, copy in zip(first, kept):
        np.testing.assert_array_equal(result, copy)
