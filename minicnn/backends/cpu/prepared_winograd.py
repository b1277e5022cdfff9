"""Winograd's F(4×4, 3×3) for fixed weights: U is computed once, and laid out as the microkernel reads it.

U[group, e, panel, c, i]      filter (group·ROWS + panel·MR + i), entry e of its tile: a stream for the product
V[block, e, c, t]             the transformed input, a block of NR tiles at a time (winograd.py has the mathematics)
M[e, f, t] = Σ_c U · V        ROWS filters and one block of tiles a task, then Aᵀ M A, bias, residual and ReLU
"""

import numba
import numpy as np
from numba import prange

from ..settings import get_num_threads
from .cache import kernel
from .moves import transpose
from .scratch import odd_lines, scratch
from .simd import MR, VECTOR_BYTES, tile_product
from .threads import launch
from .winograd import CHANNELS, M_STEP, NR, ROWS, V_BYTES, input_task, output_block, runs_alone, strip_lanes
from .winograd_simd import weight_square

VECTOR = VECTOR_BYTES // 4


def transform_filters(weight):
    """U of weight (F, C, 3, 3), flat; F is filled up with zeros to whole panels of MR."""
    F, C = weight.shape[:2]
    panels = -(-F // MR)
    u = np.empty(panels * MR * 36 * C, weight.dtype)
    own = 9 * VECTOR + 36 * MR * VECTOR
    launch(_transform_filters, weight.reshape(-1), (F, C), own, scratch(weight.dtype, own * get_num_threads()), u)
    return u


@kernel(parallel=True)
def _transform_filters(weight, sizes, own, work, u):
    F, C = sizes
    panels, of_group = (F + MR - 1) // MR, ROWS // MR
    for index in prange(panels):
        panel = np.int64(index)
        group, place = panel // of_group, panel % of_group
        held = min(of_group, panels - group * of_group)
        first = group * of_group * 36 * C * MR
        loaded = numba.get_thread_id() * own
        squares = loaded + 9 * VECTOR
        for c in range(0, C, VECTOR):
            lanes = min(VECTOR, C - c)
            for i in range(MR):
                f = panel * MR + i
                transpose(work, loaded, VECTOR, weight, (min(f, F - 1) * C + c) * 9, 9, lanes, 9)
                if f >= F:
                    work[loaded : loaded + 9 * VECTOR] = 0
                weight_square(work, loaded, VECTOR, work, squares + i * VECTOR, MR * VECTOR)
            for e in range(36):
                to = first + ((e * held + place) * C + c) * MR
                transpose(u, to, MR, work, squares + e * MR * VECTOR, VECTOR, MR, lanes)


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
    launch(
        _run,
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


@kernel(parallel=True)
def _run(x, u, bias, residual, residual_too, relu, y, sizes, image, out_image, pad, grid, plan, work):
    """Blocks of tiles as many as stay in L3: transform the input, then multiply, each in parallel.

    Where V of one block fits into L2 beside the rest, a task does both for its block.
    """
    K, R = sizes
    blocks_held, v_step, own_first, own, alone = plan
    blocks, chunks, groups = (grid[2] + NR - 1) // NR, (K + CHANNELS - 1) // CHANNELS, (R + ROWS - 1) // ROWS
    for b0 in range(0, blocks, blocks_held):
        b_count = min(blocks_held, blocks - b0)
        for phase in range(1 if alone else 2):
            # a choice written `a if phase else b` inside prange(…) makes Numba run it on one thread
            tasks = (b_count if alone else b_count * chunks, b_count * groups)[phase]
            for index in prange(tasks):
                task = np.int64(index)
                b, part = task % b_count, task // b_count
                m, first = own_first + numba.get_thread_id() * own, (b0 + b) * NR
                v = m + 36 * M_STEP if alone else b * 36 * v_step
                if phase == 0:
                    for chunk in range(0 if alone else part, chunks if alone else part + 1):
                        input_task(x, image, K, chunk * CHANNELS, pad, grid, first, work, v, v_step)
                if phase == 1 or alone:
                    for group in range(0 if alone else part, groups if alone else part + 1):
                        _output_task(
                            u, bias, residual, residual_too, relu, y, sizes, group, out_image, grid, first, work, v,
                            v_step, m,
                        )  # fmt: skip


@kernel
def _output_task(u, bias, residual, residual_too, relu, y, sizes, part, out_image, grid, first, work, v, v_step, m):
    """y of a block of tiles for ROWS filters."""
    K, R = sizes
    count, rows = min(NR, grid[2] - first), min(ROWS, R - part * ROWS)
    _multiply(u, part * ROWS * 36 * K, rows, K, work, v, v_step, m, count)
    for f in range(part * ROWS, part * ROWS + rows):
        output_block(work, m, bias[f], residual, residual_too, relu, y, f, R, out_image, grid, first, count)
        m += NR


@kernel
def _multiply(u, u_at, rows, K, work, v, v_step, m, count):
    """M (36, rows, NR) = U · V"""
    for e in range(36):
        for r in range(0, rows, MR):  # (r, K) @ (K, t) -> (r, t)
            tile_product(
                K, u, u_at, 1, MR, work, v + e * v_step, NR, work, m + e * M_STEP + r * NR, NR, MR, count, False
            )
            u_at += K * MR
