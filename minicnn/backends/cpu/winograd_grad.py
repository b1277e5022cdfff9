"""Winograd's F(4×4, 3×3) for dweight: the transpose of the map from g to Y (transforms: winograd_simd.py).

    forward     Y  = Aᵀ [(G g Gᵀ) ⊙ (Bᵀ d B)] A          summed over the channels
    so          dg = Gᵀ [(A dY Aᵀ) ⊙ (Bᵀ d B)] G         summed over the tiles

For every entry e of a transformed tile that is a product of matrices, dU[e] (F, C) = dM[e] (F, T) · V[e] (T, C).
"""

import numba
import numpy as np
from numba import prange

from ..settings import get_num_threads
from .cache import kernel
from .memory import empty
from .moves import spread_run, transpose
from .scratch import odd_lines, scratch
from .simd import MR, NR32, VECTOR_BYTES, tile_product
from .threads import launch
from .winograd import input_block, strip_lanes
from .winograd_simd import dweight_square, dy_tiles

VECTOR, NR, TAPS = np.int64(VECTOR_BYTES // 4), np.int64(NR32), np.int64(9)
HELD_BYTES = 8 << 20  # transformed tiles held at a time, so that they stay in L3 …
LEAST_HELD = 2  # … but this many blocks of NR tiles, so that a sum is worth its transform
COLUMNS = 2 * NR  # channels a task


def weight_grad(dy, x, weight_shape, padding):
    """dweight[f, c] = Σ_n dy[n, f] ∗ x[n, c]"""
    F, C = weight_shape[:2]
    N, _, oh, ow = dy.shape
    tiles_h, tiles_w = -(-oh // 4), -(-ow // 4)
    tiles = N * tiles_h * tiles_w
    held = max(LEAST_HELD, HELD_BYTES // (36 * (C + F) * NR * 4))
    held = min(held, -(-tiles // NR)) * NR  # tiles
    rows = next((n for n in (32, 16) if F // n * -(-C // COLUMNS) >= 8), 8)  # filters a task
    v_row, m_row = odd_lines(C, VECTOR), odd_lines(held, VECTOR)
    v_step, m_step, u_step = (
        odd_lines(held * v_row, VECTOR),
        odd_lines(F * m_row, VECTOR),
        odd_lines(rows * COLUMNS, VECTOR),
    )
    b_step = odd_lines(VECTOR * NR, VECTOR)
    own = 36 * max(u_step, b_step) + 2 * TAPS * VECTOR  # and two squares of dweight
    m_first = 36 * v_step
    own_first = m_first + 36 * m_step
    work = scratch(x.dtype, own_first + get_num_threads() * own)
    dweight = empty(weight_shape, dy.dtype)
    launch(
        _weight_grad,
        dy.reshape(-1),
        x.reshape(-1),
        dweight.reshape(-1),
        (F, C),
        (x.shape[2], x.shape[3]),
        (oh, ow),
        (padding[0], padding[2]),
        (tiles_h, tiles_w, tiles, strip_lanes(tiles_w)),
        (held, rows),
        (v_row, v_step, m_row, m_step, u_step, b_step),
        (m_first, own_first, own),
        work,
    )
    return dweight


@kernel(parallel=True)
def _weight_grad(dy, x, dweight, filters, image, out_image, pad, grid, plan, steps, places, work):
    F, C = filters
    held, rows = plan
    groups = (C + VECTOR - 1) // VECTOR + (F + VECTOR - 1) // VECTOR
    products = (F + rows - 1) // rows * ((C + COLUMNS - 1) // COLUMNS)
    for t0 in range(0, grid[2], held):
        count = min(held, grid[2] - t0)
        m_first, first, size = places
        for phase in range(2):
            tasks = ((count + NR - 1) // NR * groups, products)[phase]
            for index in prange(tasks):
                task = np.int64(index)
                own = first + numba.get_thread_id() * size
                if phase == 0:
                    _transform(task, t0, count, dy, x, filters, image, out_image, pad, grid, steps, m_first, own, work)
                else:
                    _multiply(task, t0, count, rows, filters, steps, m_first, own, work, dweight)


@kernel
def _transform(task, t0, count, dy, x, filters, image, out_image, pad, grid, steps, m_first, own, work):
    """A block of tiles of a vector of channels of x, or of filters of dy."""
    F, C = filters
    v_row, v_step, m_row, m_step, _, b_step = steps
    c_groups, f_groups = (C + VECTOR - 1) // VECTOR, (F + VECTOR - 1) // VECTOR
    b, group = task // (c_groups + f_groups), task % (c_groups + f_groups)
    if group < c_groups:
        c0, t_count = group * VECTOR, min(NR, count - b * NR)
        c_count = min(VECTOR, C - c0)
        for c in range(c_count):
            input_block(x, image, C, c0 + c, pad, grid, t0 + b * NR, work, own + c * NR, b_step)
        for e in range(36):  # (c, t) to (t, c): the microkernel wants the channels side by side
            to = e * v_step + b * NR * v_row + c0
            transpose(work, to, v_row, work, own + e * b_step, NR, c_count, t_count)
    else:
        first = (group - c_groups) * VECTOR
        for f in range(first, min(F, first + VECTOR)):
            _dy_block(dy, out_image, F, f, grid, t0 + b * NR, work, m_first + f * m_row + b * NR, m_step)


@kernel
def _multiply(task, t0, count, rows, filters, steps, m_first, own, work, dweight):
    """dU for some filters and channels over the held tiles, transformed and added to dweight."""
    F, C = filters
    v_row, v_step, m_row, m_step, u_step, b_step = steps
    columns = (C + COLUMNS - 1) // COLUMNS
    f0, c0 = task // columns * rows, task % columns * COLUMNS
    f_count, c_count = min(rows, F - f0), min(COLUMNS, C - c0)
    for e in range(36):
        for c in range(0, c_count, NR):
            for f in range(0, f_count, MR):  # (f, T) @ (T, c) -> (f, c)
                tile_product(
                    count, work, m_first + e * m_step + (f0 + f) * m_row, m_row, 1,
                    work, e * v_step + c0 + c, v_row, work, own + e * u_step + f * COLUMNS + c, COLUMNS,
                    min(MR, f_count - f), min(NR, c_count - c), False,
                )  # fmt: skip
    square = own + 36 * max(u_step, b_step)
    for f in range(f_count):
        for c in range(0, c_count, VECTOR):
            lanes = min(VECTOR, c_count - c)
            dweight_square(work, own + f * COLUMNS + c, u_step, work, square, VECTOR)
            transpose(work, square + TAPS * VECTOR, TAPS, work, square, VECTOR, TAPS, lanes)
            to = ((f0 + f) * C + c0 + c) * 9
            spread_run(dweight, to, 1, 9 * lanes, work, square + TAPS * VECTOR, t0 > 0)


@kernel
def _dy_block(dy, image, F, f, grid, first, m, m_at, m_step):
    """Transforms the tiles of dy of one filter that belong to a block, strip by strip."""
    tiles_h, tiles_w, tiles, lanes = grid
    per_image = tiles_h * tiles_w
    n, th, tw = first // per_image, first % per_image // tiles_w, first % tiles_w
    t, end = 0, min(NR, tiles - first)
    while t < end:
        run = min(lanes, tiles_w - tw, end - t)
        plane = (n * F + f) * image[0] * image[1]
        dy_tiles(dy, plane, image, 4 * th, 4 * tw, m, m_at + t, m_step, NR - t, lanes)
        t += run
        tw += run
        if tw == tiles_w:
            tw, th = 0, th + 1
            if th == tiles_h:
                th, n = 0, n + 1
