"""Winograd's F(2×2, 3×3) for fixed weights and images of few pixels, such as one image of 7×7.

F(4×4) would fill few of the columns that the microkernel has, and its filters are 36/9 times as large as the weights;
these are 16/9 times as large, and an image of 7×7 has 16 tiles: 512 channels take 1.5 ms instead of the 2.4 ms of the
direct product.
"""

import numpy as np

from ..settings import get_num_threads
from .native import Kernel
from .processor import MR, NR32, VECTOR_BYTES
from .scratch import odd_lines, scratch
from .winograd_plan import ROWS

LEAST_CHANNELS = 64  # below, the transforms cost more than they save
LEAST_TILES = 8

_transform_filters = Kernel("prepared_winograd_small_kernels", "transform_filters")
_run = Kernel("prepared_winograd_small_kernels", "run")


def tiles_of(y_shape):
    """Tiles of 2×2 outputs, high and wide."""
    return -(-y_shape[2] // 2), -(-y_shape[3] // 2)


def pays(weight_shape, y_shape) -> bool:
    """Whether this is faster than the direct product, for a layer that Winograd can serve."""
    tiles_h, tiles_w = tiles_of(y_shape)
    return min(weight_shape[:2]) >= LEAST_CHANNELS and y_shape[0] * tiles_h * tiles_w >= LEAST_TILES


def transform_filters(weight):
    """U of weight (F, C, 3, 3) as (16, panels, C, MR), flat; the last panel is filled up with zeros."""
    F, C = weight.shape[:2]
    u = np.empty(16 * -(-F // MR) * C * MR, weight.dtype)
    _transform_filters(weight.dtype, weight.reshape(-1), (F, C), u)
    return u


def run(x, u, bias, residual, relu, y, padding):
    """y (N, F, oh, ow) = [relu](weight ∗ x + bias [+ residual]), u = transform_filters(weight)"""
    (N, C), F, (tiles_h, tiles_w) = x.shape[:2], y.shape[1], tiles_of(y.shape)
    tiles = N * tiles_h * tiles_w
    row = -(-tiles // NR32) * NR32
    v_step = odd_lines(C * row, VECTOR_BYTES // 4)
    own = 16 * ROWS * row
    _run(
        x.dtype,
        x.reshape(-1),
        u,
        bias,
        (y if residual is None else residual).reshape(-1),
        residual is not None,
        relu,
        y.reshape(-1),
        (N, C, F),
        (x.shape[2], x.shape[3]),
        (y.shape[2], y.shape[3]),
        (padding[0], padding[2]),
        (tiles_h, tiles_w, tiles),
        (row, v_step, 16 * v_step, own),
        scratch(x.dtype, 16 * v_step + own * get_num_threads()),
    )
