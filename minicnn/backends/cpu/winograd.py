"""Winograd's F(4×4, 3×3): 3×3 convolution of stride 1 with a quarter of the products (transforms: winograd_simd.py).

    V[e, c, t] = (Bᵀ d B)[e]      of every tile t of the input              e = 36 entries of a transformed tile
    U[e, f, c] = (G g Gᵀ)[e]      of every filter
    M[e, f, t] = Σ_c U[e, f, c] · V[e, c, t]                                36 matrix products
    y          = Aᵀ M A           tile by tile

dx is the same with dy for the input and the filters turned by 180°; dweight is in winograd_grad.py.
"""

from functools import lru_cache

import numba
import numpy as np
from numba import prange

from ..settings import get_num_threads
from .cache import kernel
from .memory import empty
from .moves import transpose
from .scratch import odd_lines, scratch
from .simd import MR, tile_product
from .threads import launch
from .winograd_plan import CHANNELS, M_STEP, NR, ROWS, V_BYTES, VECTOR, runs_alone, strip_lanes
from .winograd_simd import input_tiles, output_tiles, weight_square

TAPS, ZERO = np.int64(9), np.int64(0)
# Rows of the turned filters that lie side by side: U[e] is (R / PANEL, K, PANEL), so that a product reads one stream of
# them; a row of all R cost dx up to 13 % more.
PANEL = np.int64(max(int(VECTOR), MR))
U_BYTES = 5 << 20  # filters held at a time, which stay in L3 beside the input


def forward(x, weight, bias, padding, out_size):
    """y[n, f] = Σ_c weight[f, c] ∗ x[n, c] + bias[f]"""
    y = empty((x.shape[0], weight.shape[0], *out_size), x.dtype)
    _convolve(x, weight, bias, y, padding[0], padding[2], False)
    return y


def input_grad(dy, weight, x_shape, padding):
    # forward: y[oy] = Σ_i weight[i] · x[oy + i − top], so dx[h] = Σ_i weight[2 − i] · dy[h + i − (2 − top)]
    dx = empty(x_shape, dy.dtype)
    _convolve(dy, weight, None, dx, 2 - padding[0], 2 - padding[2], True)
    return dx


def _convolve(x, weight, bias, y, top, left, turned):
    F, C = weight.shape[:2]
    grid, plan, places, size = _layout(F, C, turned, y.shape[0], y.shape[2:], get_num_threads())
    launch(
        _winograd,
        x.reshape(-1),
        weight.reshape(-1),
        np.zeros(C if turned else F, x.dtype) if bias is None else bias,
        y.reshape(-1),
        (F, C, turned),
        x.shape[2:],
        y.shape[2:],
        (top, left),
        grid,
        plan,
        places,
        scratch(x.dtype, size),
    )


@lru_cache(maxsize=1024)
def _layout(F, C, turned, images, out_image, threads):
    """The tiles, the plan and the places of the kernel, and the size of its working memory."""
    K, R = (F, C) if turned else (C, F)  # channels in and out
    tiles_h, tiles_w = -(-out_image[0] // 4), -(-out_image[1] // 4)
    tiles = images * tiles_h * tiles_w
    blocks, v_step, all_rows = -(-tiles // NR), odd_lines(K * NR, VECTOR), -(-R // ROWS) * ROWS
    alone = runs_alone(blocks, v_step) and 36 * K * R * 4 <= U_BYTES
    # filters that do not fit are transformed once for each batch of blocks: then fewer, larger batches
    v_bytes = V_BYTES if 36 * K * R * 4 <= U_BYTES else 4 * V_BYTES
    blocks_held = blocks if alone else max(1, min(blocks, v_bytes // (36 * K * NR * 4)))
    rows_held = all_rows if alone else min(all_rows, max(ROWS, U_BYTES // (36 * K * 4) // ROWS * ROWS))
    u_row = PANEL if turned else odd_lines(C, VECTOR)
    u_step = odd_lines(-(-min(R, rows_held) // PANEL) * PANEL * F if turned else u_row * rows_held, VECTOR)
    v_size, u_size = 0 if alone else blocks_held * 36 * v_step, 36 * u_step
    own = 36 * M_STEP + 9 * VECTOR + (36 * v_step if alone else 0)
    grid, plan = (tiles_h, tiles_w, tiles, strip_lanes(tiles_w)), (blocks_held, rows_held, u_row, u_step, v_step, alone)
    return grid, plan, (v_size, v_size + u_size, own), v_size + u_size + threads * own


@kernel(parallel=True)
def _winograd(x, weight, bias, y, filters, image, out_image, pad, grid, plan, places, work):
    """Blocks of tiles by blocks of rows of U, in three phases. One prange serves all: each costs 0.4 s to compile."""
    F, C, turned = filters
    K, R = (F, C) if turned else (C, F)
    blocks_held, rows_held, _, _, v_step, alone = plan
    blocks, chunks = (grid[2] + NR - 1) // NR, (K + CHANNELS - 1) // CHANNELS
    for b0 in range(0, blocks, blocks_held):
        b_count = min(blocks_held, blocks - b0)
        for r0 in range(0, R, rows_held):
            r_count = min(rows_held, R - r0)
            row_blocks = (r_count + ROWS - 1) // ROWS
            inputs = b_count * chunks if r0 == 0 and not alone else 0
            transforms = (F if turned else r_count) if b0 == 0 or rows_held < R else 0
            products = b_count if alone else b_count * row_blocks
            for phase in range(3):
                tasks = (inputs, transforms, products)[phase]
                for index in prange(tasks):
                    task = np.int64(index)  # else each helper is compiled for uint64 too
                    own = places[1] + numba.get_thread_id() * places[2]
                    if phase == 0:
                        b, c0 = task // chunks, task % chunks * CHANNELS
                        input_task(x, image, K, c0, pad, grid, (b0 + b) * NR, work, b * 36 * v_step, v_step)
                    elif phase == 1:
                        _filter_task(task, r0, r_count, weight, filters, plan, places[0], own, work)
                    elif alone:
                        v_at = own + 36 * M_STEP
                        for c0 in range(0, K, CHANNELS):
                            input_task(x, image, K, c0, pad, grid, (b0 + task) * NR, work, v_at, v_step)
                        for r in range(0, R, ROWS):
                            _multiply(
                                r, b0 + task, r0, r_count, filters, bias, y, out_image, grid, plan, v_at, places[0],
                                own, work,
                            )  # fmt: skip
                    else:
                        b, r = task % b_count, task // b_count * ROWS
                        _multiply(
                            r, b0 + b, r0, r_count, filters, bias, y, out_image, grid, plan, b * 36 * v_step,
                            places[0], own, work,
                        )  # fmt: skip


@kernel
def input_task(x, image, K, c0, pad, grid, first, work, v_at, v_step):
    """V of a block of tiles for CHANNELS channels."""
    for c in range(c0, min(K, c0 + CHANNELS)):
        input_block(x, image, K, c, pad, grid, first, work, v_at + c * NR, v_step)


@kernel
def _filter_task(f, r0, r_count, weight, filters, plan, u_first, own, work):
    """U of one filter, for the rows that are held: filters r0 + …, or, turned, channels r0 + … of each filter."""
    F, C, turned = filters
    u_row, u_step = plan[2:4]
    if turned:
        _filter_transform(weight, f, C, r0, r_count, turned, work, own, u_first + f * u_row, u_step, F)
    else:
        _filter_transform(weight, r0 + f, C, ZERO, C, turned, work, own, u_first + f * u_row, u_step, F)


@kernel
def _multiply(first, b, r0, r_count, filters, bias, y, out_image, grid, plan, v_at, u_first, own, work):
    """M = U · V for a block of tiles and ROWS rows of U, transformed into y."""
    F, C, turned = filters
    K, R = (F, C) if turned else (C, F)
    _, _, u_row, u_step, v_step, _ = plan
    last, count = min(r_count, first + ROWS), min(NR, grid[2] - b * NR)
    a_row, a_step = (1, PANEL) if turned else (u_row, 1)
    for e in range(36):
        for r in range(first, last, MR):  # (r, K) @ (K, t) -> (r, t)
            u_at = u_first + e * u_step + (_in_panels(r, K) if turned else r * u_row)
            tile_product(
                K, work, u_at, a_row, a_step, work, v_at + e * v_step, NR,
                work, own + e * M_STEP + (r - first) * NR, NR, min(MR, last - r), count, False,
            )  # fmt: skip
    for r in range(first, last):
        m_at = own + (r - first) * NR
        output_block(work, m_at, bias[r0 + r], y, False, False, y, r0 + r, R, out_image, grid, b * NR, count)


@kernel
def input_block(x, image, channels, c, pad, grid, first, v, v_at, v_step):
    """Transforms the tiles of one channel that belong to a block, strip by strip."""
    tiles_h, tiles_w, tiles, lanes = grid
    per_image = tiles_h * tiles_w
    n, th, tw = first // per_image, first % per_image // tiles_w, first % tiles_w
    t, end = 0, min(NR, tiles - first)
    while t < end:
        run = min(lanes, tiles_w - tw, end - t)
        plane = (n * channels + c) * image[0] * image[1]
        input_tiles(x, plane, image, 4 * th - pad[0], 4 * tw - pad[1], v, v_at + t, v_step, NR - t, lanes)
        t += run
        tw += run
        if tw == tiles_w:
            tw, th = 0, th + 1
            if th == tiles_h:
                th, n = 0, n + 1


@kernel
def output_block(m, m_at, bias, residual, residual_too, relu, y, r, R, image, grid, first, count):
    """Transforms the tiles of one filter that belong to a block back, strip by strip, and finishes them."""
    tiles_h, tiles_w, _, lanes = grid
    per_image = tiles_h * tiles_w
    n, th, tw = first // per_image, first % per_image // tiles_w, first % tiles_w
    t = 0
    while t < count:
        run = min(lanes, tiles_w - tw, count - t)
        plane = (n * R + r) * image[0] * image[1]
        output_tiles(
            m, m_at + t, M_STEP, bias, residual, residual_too, relu, y, plane, image, 4 * th, 4 * tw, run, lanes
        )
        t += run
        tw += run
        if tw == tiles_w:
            tw, th = 0, th + 1
            if th == tiles_h:
                th, n = 0, n + 1


@kernel
def _in_panels(r, K):
    """Where row r of the turned filters begins."""
    return r // PANEL * PANEL * K + r % PANEL


@kernel
def _filter_transform(weight, f, C, c_first, c_count, turned, work, buffer, u_at, u_step, F):
    """U[e, f, c] for c from c_first, a vector of channels at a time; the last is filled with zeros."""
    for c in range(0, c_count, VECTOR):
        lanes = min(VECTOR, c_count - c)
        source = (f * C + c_first + c) * 9
        transpose(work, buffer, VECTOR, weight, source, TAPS, lanes, TAPS)
        if turned:
            weight_square(work, buffer + 8 * VECTOR, -VECTOR, work, u_at + _in_panels(c, F), u_step)
        else:
            weight_square(work, buffer, VECTOR, work, u_at + c, u_step)
