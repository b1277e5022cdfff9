"""The tiled products of the cuda backend: every order of memory, long sums in slices, and what they end with."""

import numpy as np
import pytest

from minicnn import backends
from minicnn.backends import reference

if backends.why_missing("cuda"):
    pytest.skip(backends.why_missing("cuda"), allow_module_level=True)

from minicnn.backends.cuda import implicit, implicit_grad, prepare_conv2d, slices
from minicnn.backends.cuda.arrays import on_device, xp
from minicnn.backends.cuda.gemm import gemm
from minicnn.backends.cuda.host import to_host
from minicnn.backends.cuda.tile import TILES

BOUND = {"float32": 4e-6, "float64": 1e-14}  # of the largest number
LONG = (2, 40, 5, 5)  # 360 products a sum


def moved(*arrays):
    return [on_device(array) for array in arrays]


def close(found, truth, dtype):
    found = to_host(found)
    assert found.dtype == dtype and found.shape == truth.shape
    assert np.abs(found - truth).max() <= BOUND[dtype] * np.abs(truth).max()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("b_turned", [False, True])
@pytest.mark.parametrize("a_turned", [False, True])
@pytest.mark.parametrize("size", [(1, 1, 1), (5, 7, 3), (17, 33, 9), (20, 4, 70)])
def test_gemm_in_every_order_of_memory(rng, size, a_turned, b_turned, dtype):
    M, N, K = size
    a, b, bias = (rng.standard_normal(shape).astype(dtype) for shape in ((M, K), (K, N), (N,)))
    on_gpu_a = on_device(a.T.copy()).T if a_turned else on_device(a)
    on_gpu_b = on_device(b.T.copy()).T if b_turned else on_device(b)
    close(gemm(on_gpu_a, on_gpu_b, on_device(bias)), a.astype(np.float64) @ b + bias, dtype)


def test_gemm_of_nothing():
    nothing = np.zeros((3, 0), np.float32)
    bias = np.arange(3, dtype=np.float32)
    np.testing.assert_array_equal(to_host(gemm(*moved(nothing, nothing.T, bias))), [[0, 1, 2]] * 3)
    assert gemm(*moved(np.zeros((0, 2), np.float32), np.zeros((2, 4), np.float32))).shape == (0, 4)


@pytest.mark.parametrize("number", [1, 3, 7])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_sums_in_slices_are_the_same_sums(rng, monkeypatch, dtype, number):
    """Each of the three products of a convolution; seven slices of fewer than 49 steps leave some empty."""
    x, weight, bias = (rng.standard_normal(shape).astype(dtype) for shape in (LONG, (6, 40, 3, 3), (6,)))
    settings = (1, 1), (1, 1, 1, 1), (1, 1), 1
    y = reference.conv2d_forward(*(a.astype(np.float64) for a in (x, weight, bias)), *settings)
    dy = rng.standard_normal(y.shape).astype(dtype)
    dx = reference.conv2d_input_grad(dy.astype(np.float64), weight.astype(np.float64), x.shape, *settings)
    dweight = reference.conv2d_weight_grad(dy.astype(np.float64), x.astype(np.float64), weight.shape, *settings)
    for module in (implicit, implicit_grad):
        monkeypatch.setattr(module, "slices_for", lambda tiles, tile, steps: number)
    x, weight, bias, dy = moved(x, weight, bias, dy)
    close(implicit.forward(x, weight, bias, *settings, (5, 5)), y, dtype)
    close(implicit.input_grad(dy, weight, LONG, *settings), dx, dtype)
    close(implicit_grad.weight_grad(dy, x, (6, 40, 3, 3), *settings), dweight, dtype)


def test_the_number_of_slices_follows_from_the_shape():
    tile = TILES[4][0]
    many = slices.THREADS // tile.threads
    assert slices.slices_for(many, tile, 1000) == 1, "every multiprocessor has a block already"
    assert slices.slices_for(1, tile, 2 * slices.SHORTEST - 1) == 1, "too short to cut"
    assert 1 < slices.slices_for(1, tile, 10_000) <= slices.MOST


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("groups", "stride"), [(1, 1), (1, 2), (2, 1), (4, 1)])
def test_a_prepared_convolution_ends_with_sum_and_relu(rng, groups, stride, dtype):
    x, weight, bias = (
        rng.standard_normal(shape).astype(dtype) for shape in ((2, 4, 6, 5), (8, 4 // groups, 3, 3), (8,))
    )
    settings = (stride, stride), (1, 1, 1, 1), (1, 1), groups
    y = reference.conv2d_forward(*(a.astype(np.float64) for a in (x, weight, bias)), *settings)
    other = rng.standard_normal(y.shape).astype(dtype)
    for with_bias, residual, relu in np.ndindex(2, 2, 2):
        run = prepare_conv2d(on_device(weight), on_device(bias) if with_bias else None, *settings, bool(relu))
        found = run(on_device(x), on_device(other) if residual else None, lambda shape: xp.full(shape, xp.nan, dtype))
        truth = (y if with_bias else y - bias[:, None, None]) + (other if residual else 0)
        close(found, np.maximum(truth, 0) if relu else truth, dtype)
