"""Winograd's F(4×4, 3×3) for fixed weights, fused with what follows the convolution (winograd.py has the mathematics).

U[group, e, panel, c, i]      filter (group·ROWS + panel·MR + i), entry e of its tile: a stream for the product
V[block, e, c, t]             the transformed input, a block of NR tiles at a time
M[e, f, t] = Σ_c U · V        ROWS filters and one block of tiles a task, then Aᵀ M A, bias, residual and ReLU
"""

import numba
import numpy as np
from numba import prange

from .cache import kernel
from .moves import transpose
from .simd import MR, tile_product
from .winograd import input_task, output_block
from .winograd_plan import CHANNELS, M_STEP, NR, ROWS, VECTOR
from .winograd_simd import weight_square


@kernel(parallel=True, alone=True)
def transform_filters(weight, sizes, own, work, u):
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


@kernel(parallel=True, alone=True)
def run(x, u, bias, residual, residual_too, relu, y, sizes, image, out_image, pad, grid, plan, work):
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
