"""The weight gradient as an implicit GEMM: dweight = Σ_n dy[n] (F, P) · columns(x[n])ᵀ (P, K).

Computed as dweightᵀ (K, F) = columns (K, P) · dyᵀ (P, F), so that only dy, the smaller factor, has to be transposed.
"""

import numba
import numpy as np
from numba import prange

from ..settings import get_num_threads
from .cache import kernel
from .im2col import pack_columns
from .implicit import kernel_taps
from .memory import empty
from .moves import transpose
from .scratch import odd_lines, scratch
from .simd import MR, NV, VECTOR_BYTES, tile_product
from .threads import launch

HELD_BYTES = 6 << 20  # columns and dyᵀ held at a time: they stay in L3
PIXELS = 256  # pixels summed over before they are added to the sum so far: a block
ROWS = 64  # rows of columns a task
# Where dweight is this small, a task packs its own pixels and sums them in its L2; the sums are added at the end.
ALONE_BYTES = 256 << 10
PARTS = 16  # most sums of different pixels


def weight_grad(dy, x, weight_shape, stride, padding, dilation, groups):
    # forward: y = weight @ columns(x), so dL/dweight = dy @ columns(x).T, summed over the images
    N, F, oh, ow = dy.shape
    C, H, W = x.shape[1:]
    K, filters, pixels = int(np.prod(weight_shape[1:])), F // groups, N * oh * ow
    lanes = VECTOR_BYTES // x.itemsize
    nr = NV * lanes
    row, dy_row = odd_lines(PIXELS + lanes - 1, lanes), odd_lines(filters, lanes)
    block_size, blocks = K * row + PIXELS * dy_row, -(-pixels // PIXELS)
    tasks = -(-K // ROWS) * -(-filters // nr)
    alone = K * filters * x.itemsize <= ALONE_BYTES and blocks >= PARTS > tasks
    held = get_num_threads() if alone else max(1, min(blocks, HELD_BYTES // (block_size * x.itemsize)))
    parts = PARTS if alone else max(1, min(PARTS // tasks, held))  # few tasks: the pixels are cut too
    work = scratch(x.dtype, held * block_size + parts * K * filters)
    dweight = empty(weight_shape, dy.dtype)
    launch(
        _weight_grad,
        dy.reshape(-1),
        x.reshape(-1),
        (C, H, W),
        dweight.reshape(-1),
        (groups, C // groups, filters, pixels),
        *kernel_taps(weight_shape[2:], padding, dilation),
        (oh, ow, *stride),
        (alone, held, row, dy_row, parts, nr),
        (block_size, held * block_size),
        work,
    )
    return dweight


@kernel(parallel=True)
def _weight_grad(dy, x, source, dweight, sizes, taps_y, taps_x, grid, plan, places, work):
    """Packs and multiplies blocks of pixels in turn, and adds the parts up after the last."""
    groups, channels, filters, pixels = sizes
    alone, held, _, _, parts, nr = plan
    block_size, sums = places
    K, blocks = channels * taps_y.size, (pixels + PIXELS - 1) // PIXELS
    k_blocks, f_blocks = (K + ROWS - 1) // ROWS, (filters + nr - 1) // nr
    step = blocks if alone else held
    for g in range(groups):
        for b0 in range(0, blocks, step):
            b_count = min(step, blocks - b0)
            packing = 0 if alone else b_count * (k_blocks + 1)
            products = parts if alone else parts * k_blocks * f_blocks
            finish = (filters + 15) // 16 if b0 + step >= blocks else 0
            for phase in range(3):
                tasks = (packing, products, finish)[phase]
                for index in prange(tasks):
                    task = np.int64(index)
                    if phase == 0:
                        b, k_block = task // (k_blocks + 1), task % (k_blocks + 1)
                        _pack(
                            k_block, b0 + b, b * block_size, dy, x, source, g, sizes, taps_y, taps_x, grid, plan, work
                        )
                    elif phase == 1:
                        part = task if alone else task // (k_blocks * f_blocks)
                        first, last = b_count * part // parts, b_count * (part + 1) // parts
                        for b in range(first, max(last, first + 1)):
                            q_count = min(PIXELS, pixels - (b0 + b) * PIXELS) if b < last else 0  # empty: zeros
                            add, to = b0 > 0 or b > first, sums + part * K * filters
                            if alone:
                                at = numba.get_thread_id() * block_size
                                for k_block in range(k_blocks + 1):
                                    _pack(k_block, b, at, dy, x, source, g, sizes, taps_y, taps_x, grid, plan, work)
                                for i in range(k_blocks * f_blocks):
                                    _multiply(i, K, filters, q_count, at, plan, work, to, add)
                            else:
                                at = b * block_size
                                _multiply(task % (k_blocks * f_blocks), K, filters, q_count, at, plan, work, to, add)
                    else:
                        _finish(task * 16, K, g, filters, parts, sums, work, dweight)


@kernel
def _pack(k_block, b, at, dy, x, source, g, sizes, taps_y, taps_x, grid, plan, work):
    """Of one block of pixels: ROWS rows of columns, or, after the last of them, dyᵀ."""
    groups, channels, filters, pixels = sizes
    row, dy_row = plan[2:4]
    K = channels * taps_y.size
    k, q = k_block * ROWS, b * PIXELS
    q_count = min(PIXELS, pixels - q)
    if k < K:
        pack_columns(
            x, source, g * channels, taps_y, taps_x, grid, k, min(ROWS, K - k), q, q_count, work, at + k * row, row
        )
    else:
        to = at + K * row
        _transpose_dy(dy, groups * filters, g * filters, filters, grid[0] * grid[1], q, q_count, work, to, dy_row)


@kernel
def _multiply(task, K, filters, q_count, at, plan, work, sums, add):
    """ROWS × NR sums of dweightᵀ over one block of pixels."""
    _, _, row, dy_row, _, nr = plan
    f_blocks = (filters + nr - 1) // nr
    k0, f = task // f_blocks * ROWS, task % f_blocks * nr
    for k in range(k0, min(K, k0 + ROWS), MR):  # (k, P) @ (P, f) -> (k, f)
        tile_product(
            q_count, work, at + k * row, row, 1, work, at + K * row + f, dy_row,
            work, sums + k * filters + f, filters, min(MR, K - k), min(nr, filters - f), add,
        )  # fmt: skip


@kernel
def _finish(f, K, g, filters, parts, sums, work, dweight):
    """Adds the parts in order and transposes the sums of filters from f into dweight."""
    f_count = min(16, filters - f)
    sums += f
    for part in range(1, parts):
        for k in range(K):
            total = work[sums + k * filters : sums + k * filters + f_count]
            more = work[sums + (part * K + k) * filters : sums + (part * K + k) * filters + f_count]
            for i in range(f_count):
                total[i] += more[i]
    transpose(dweight, (g * filters + f) * K, K, work, sums, filters, K, f_count)


@kernel
def _transpose_dy(dy, F, f_first, filters, P, q_first, q_count, out, out_at, row):
    """out (q_count, row)[q, f] = dy[n, f_first + f, p] for q = (n, p)."""
    q = 0
    while q < q_count:
        n, p = (q_first + q) // P, (q_first + q) % P
        run = min(q_count - q, P - p)
        transpose(out, out_at + q * row, row, dy, (n * F + f_first) * P + p, P, filters, run)
        q += run
