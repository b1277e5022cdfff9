"""Convolution and linear layers as matrix products with fixed weights, which are packed once for the microkernel."""

from functools import lru_cache

import numpy as np

from ..settings import get_num_threads
from .native import Kernel
from .processor import MR, NV, VECTOR_BYTES
from .scratch import odd_lines, scratch

PANELS = 4  # tiles side by side in a block of columns, which share a panel of the weights in L1
HELD_BYTES = 4 << 20  # columns held at a time: they stay in L3, and each is packed once for all filters
KC_BYTES = 400 << 10  # of a block of columns multiplied at a time, in a core's L2
LINEAR_ROWS = 32  # images a task of a linear layer

_convolve = Kernel("prepared_product_kernels", "convolve")
_linear = Kernel("prepared_product_kernels", "linear")


@lru_cache(maxsize=256)
def kernel_taps(kernel_size, padding, dilation):
    """Where each tap of the kernel reads, relative to stride times the output position: (rows, columns)."""
    i, j = np.indices(kernel_size, dtype=np.int64).reshape(2, -1)
    return i * dilation[0] - padding[0], j * dilation[1] - padding[2]


def pack_filters(weight, groups):
    """weight (groups·F, C, kh, kw) as (groups, panels, K, MR), flat: the last panel is filled up with zeros."""
    filters, K = weight.shape[0] // groups, weight[0].size
    panels = -(-filters // MR)
    packed = np.zeros((groups, panels * MR, K), weight.dtype)
    packed[:, :filters] = weight.reshape(groups, filters, K)
    return np.ascontiguousarray(packed.reshape(groups, panels, MR, K).swapaxes(2, 3)).reshape(-1)


def unpack_filters(packed, shape, groups):
    """The weight of this shape that `pack_filters` packed."""
    filters, K = shape[0] // groups, shape[1] * shape[2] * shape[3]
    panels = packed.reshape(groups, -1, K, MR).swapaxes(2, 3).reshape(groups, -1, K)
    return np.ascontiguousarray(panels[:, :filters]).reshape(shape)


def convolve(x, packed, bias, residual, relu, y, groups, taps, stride):
    """y (N, F, oh, ow) = [relu](weight · columns(x) + bias [+ residual]), packed = pack_filters(weight)"""
    (N, C, H, W), (F, oh, ow) = x.shape, y.shape[1:]
    lanes = VECTOR_BYTES // x.itemsize
    nr = NV * lanes
    K, pixels, filters = C // groups * taps[0].size, N * oh * ow, F // groups
    block = min(PANELS * nr, pixels)
    row = odd_lines(block + lanes - 1, lanes)
    blocks = groups * -(-pixels // block)
    held = max(1, min(blocks, HELD_BYTES // (K * row * x.itemsize)))
    rows = next((n for n in (64, 32) if held * -(-filters // n) >= 16), 16)  # filters a task
    kc = max(64, KC_BYTES // (row * x.itemsize))
    work = scratch(x.dtype, held * K * row + get_num_threads() * MR * nr)
    _convolve(
        x.dtype,
        x.reshape(-1),
        (C, H, W),
        packed,
        bias,
        (y if residual is None else residual).reshape(-1),
        residual is not None,
        relu,
        y.reshape(-1),
        (groups, C // groups, filters, pixels),
        *taps,
        (oh, ow, *stride),
        (block, row, held, rows, kc, nr),
        work,
    )


def pack_linear(weight):
    """weight (R, K) as (panels, K, NR), flat: a panel is as many outputs as the microkernel has columns."""
    (R, K), nr = weight.shape, NV * VECTOR_BYTES // weight.itemsize
    packed = np.zeros((-(-R // nr) * nr, K), weight.dtype)
    packed[:R] = weight
    return np.ascontiguousarray(packed.reshape(-1, nr, K).swapaxes(1, 2)).reshape(-1)


def linear(x, packed, bias, relu, y):
    """y (M, R) = [relu](x (M, K) @ weight.T + bias), packed = pack_linear(weight)"""
    (M, K), R = x.shape, y.shape[1]
    nr = NV * VECTOR_BYTES // x.itemsize
    _linear(x.dtype, x.reshape(-1), packed, bias, relu, y.reshape(-1), (M, K, R), (LINEAR_ROWS, nr))
