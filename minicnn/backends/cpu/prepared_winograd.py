"""Winograd's F(4×4, 3×3) for fixed weights: U is computed once, and laid out as the microkernel reads it.

prepared_winograd_kernels.py has the kernels and says what U, V and M are.
"""

import numpy as np

from ..settings import get_num_threads
from .native import Kernel
from .processor import MR
from .scratch import odd_lines, scratch
from .winograd_plan import M_STEP, NR, V_BYTES, VECTOR, runs_alone, strip_lanes

_transform_filters = Kernel("prepared_winograd_kernels", "transform_filters")
_run = Kernel("prepared_winograd_kernels", "run")


def transform_filters(weight):
    """U of weight (F, C, 3, 3), flat; F is filled up with zeros to whole panels of MR."""
    F, C = weight.shape[:2]
    panels = -(-F // MR)
    u = np.empty(panels * MR * 36 * C, weight.dtype)
    own = 9 * VECTOR + 36 * MR * VECTOR
    work = scratch(weight.dtype, own * get_num_threads())
    _transform_filters(weight.dtype, weight.reshape(-1), (F, C), int(own), work, u)
    return u


def run(x, u, bias, residual, relu, y, padding):
    """y (N, F, oh, ow) = [relu](weight ∗ x + bias [+ residual]), u = transform_filters(weight)"""
    K, R = x.shape[1], y.shape[1]
    tiles_h, tiles_w = -(-y.shape[2] // 4), -(-y.shape[3] // 4)
    tiles = y.shape[0] * tiles_h * tiles_w
    v_step = odd_lines(K * NR, VECTOR)
    blocks, v_size = -(-tiles // NR), 36 * v_step
    alone = runs_alone(blocks, v_step)
    held = blocks if alone else max(1, min(blocks, max(V_BYTES, x.itemsize * u.size) // (v_size * x.itemsize)))
    own_first, own = (0, 36 * M_STEP + v_size) if alone else (held * v_size, 36 * M_STEP)
    _run(
        x.dtype,
        x.reshape(-1),
        u,
        bias,
        (y if residual is None else residual).reshape(-1),
        residual is not None,
        relu,
        y.reshape(-1),
        (K, R),
        (x.shape[2], x.shape[3]),
        (y.shape[2], y.shape[3]),
        (padding[0], padding[2]),
        (tiles_h, tiles_w, tiles, strip_lanes(tiles_w)),
        (held, v_step, own_first, own, alone),
        scratch(x.dtype, own_first + own * get_num_threads()),
    )
