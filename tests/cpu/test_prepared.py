"""Layers prepared for inference against the reference in float64: every algorithm, epilogues, corners, threads."""

import numpy as np
import pytest
from test_conv_algorithms import CASES

import minicnn
from minicnn.backends import cpu, reference
from minicnn.backends.cpu.algorithms import COMPILED

SMALL = {  # for Winograd's smallest tiles: few pixels, many channels
    "7x7": ((1, 128, 7, 7), (128, 128, 3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 1),
    "two images, filters left over": ((2, 64, 5, 6), (70, 64, 3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 1),
    "unequal padding": ((1, 66, 6, 9), (65, 66, 3, 3), (1, 1), (0, 2, 3, 1), (1, 1), 1),
}
BOUNDS = {"im2col": 5e-6, "direct": 5e-6, "auto": 5e-5, "winograd": 1e-4}


def run_conv(case, dtype, rng, residual_too, relu):
    """What the prepared layer gives, and the truth."""
    x_shape, w_shape, *settings = (CASES | SMALL)[case]
    x, weight, bias = (rng.standard_normal(s).astype(dtype) for s in (x_shape, w_shape, w_shape[:1]))
    truth = reference.conv2d_forward(*(a.astype(np.float64) for a in (x, weight, bias)), *settings)
    residual = rng.standard_normal(truth.shape).astype(dtype) if residual_too else None
    truth = truth + residual if residual_too else truth
    run = cpu.prepare_conv2d(weight, bias, *settings, relu)
    return run(x, residual, lambda shape: np.full(shape, 7, dtype)), np.maximum(truth, 0) if relu else truth, run, x


@pytest.mark.parametrize("algorithm", BOUNDS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("case", [*CASES, *SMALL])
def test_convolution(case, dtype, algorithm, rng):
    with minicnn.conv_algorithm(algorithm):
        for residual_too, relu in ((False, False), (True, True)):
            y, truth, _, _ = run_conv(case, dtype, rng, residual_too, relu)
            assert y.shape == truth.shape and y.dtype == dtype
            bound = BOUNDS[algorithm] if dtype == np.float32 else 1e-13
            assert np.abs(y - truth).max(initial=0) <= bound * np.abs(truth).max(initial=0)


@pytest.mark.parametrize("case", SMALL)
def test_small_maps_take_the_smallest_winograd(case, rng):
    if not COMPILED:
        pytest.skip("without the compiler there is no Winograd")
    y, truth, run, x = run_conv(case, np.float32, rng, True, True)
    assert run.algorithm(x.shape) == "winograd 2×2"
    assert np.abs(y - truth).max() <= 5e-6 * np.abs(truth).max()
    again = [run(x, None, lambda shape: np.empty(shape, np.float32)) for _ in range(2)]
    np.testing.assert_array_equal(*again)


def test_one_layer_serves_every_batch_size(rng):
    """Filters change their form with the algorithm: packed for one image, transformed for many, and back."""
    weight, bias = rng.standard_normal((32, 32, 3, 3)).astype(np.float32), np.zeros(32, np.float32)
    run = cpu.prepare_conv2d(weight, bias, (1, 1), (1, 1, 1, 1), (1, 1), 1, False)
    for n in (1, 40, 1, 40):
        x = rng.standard_normal((n, 32, 4, 4)).astype(np.float32)
        y = run(x, None, lambda shape: np.empty(shape, np.float32))
        truth = reference.conv2d_forward(x.astype(np.float64), weight, bias, (1, 1), (1, 1, 1, 1), (1, 1), 1)
        assert np.abs(y - truth).max() <= 5e-5 * np.abs(truth).max()
    np.testing.assert_array_equal(run.weight(), weight)


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(1, 512, 1000), (70, 33, 25), (3, 1, 1), (0, 4, 5)])
def test_linear(shape, dtype, relu, rng):
    images, inputs, outputs = shape
    x, weight = (rng.standard_normal((rows, inputs)).astype(dtype) for rows in (images, outputs))
    bias = rng.standard_normal(outputs).astype(dtype)
    truth = x.astype(np.float64) @ weight.astype(np.float64).T + bias
    y = cpu.prepare_linear(weight, bias, relu)(x, lambda shape: np.full(shape, 7, dtype))
    truth = np.maximum(truth, 0) if relu else truth
    assert y.shape == truth.shape and y.dtype == dtype
    assert np.abs(y - truth).max(initial=0) <= 8 * np.finfo(dtype).eps * inputs


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("size", "kernel", "stride", "padding", "out_size"),
    [
        ((11, 12), (3, 3), (2, 2), (1, 1), (6, 6)),
        ((9, 20), (2, 2), (2, 2), (0, 0), (5, 10)),  # ceil mode: the last windows end behind the image
        ((7, 5), (3, 2), (1, 1), (1, 1), (7, 6)),
        ((8, 8), (2, 3), (3, 4), (0, 1), (3, 2)),
        ((1, 1), (1, 1), (1, 1), (0, 0), (1, 1)),
    ],
)
def test_max_pool(size, kernel, stride, padding, out_size, dtype, rng):
    x = rng.standard_normal((2, 3, *size)).astype(dtype)
    x[0, 0, 0, 0], x[0, 1], x[1, 2, -1, -1] = np.nan, -np.inf, np.inf
    truth, _ = reference.max_pool2d_forward(x, kernel, stride, padding, (1, 1), out_size)
    y = np.full(truth.shape, 7, dtype)
    cpu.max_pool2d_into(x, kernel, stride, padding, y)
    np.testing.assert_array_equal(y, truth)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_mean(dtype, rng):
    x = rng.standard_normal((3, 50, 7, 9)).astype(dtype)
    y = np.empty((3, 50, 1, 1), dtype)
    cpu.mean2d_into(x, y)
    np.testing.assert_allclose(y[..., 0, 0], x.mean(axis=(2, 3), dtype=np.float64), atol=8 * np.finfo(dtype).eps)
