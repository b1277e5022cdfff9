"""The weight gradient as an implicit GEMM: dweight = Σ_n dy[n] (F, P) · columns(x[n])ᵀ (P, K).

Computed as dweightᵀ (K, F) = columns (K, P) · dyᵀ (P, F), so that only dy, the smaller factor, has to be transposed.
"""

import numpy as np
from numba import prange

from .cache import kernel
from .im2col import pack_columns
from .implicit import kernel_taps
from .memory import empty
from .moves import transpose
from .scratch import odd_lines, scratch
from .simd import MR, NV, VECTOR_BYTES, tile_product
from .threads import launch

HELD_BYTES = 6 << 20  # columns and dyᵀ held at a time: they stay in L3
PIXELS = 256  # pixels summed over before they are added to the sum so far
ROWS = 64  # rows of columns a task


def weight_grad(dy, x, weight_shape, stride, padding, dilation, groups):
    # forward: y = weight @ columns(x), so dL/dweight = dy @ columns(x).T, summed over the images
    N, F, oh, ow = dy.shape
    C, H, W = x.shape[1:]
    K, filters, pixels = int(np.prod(weight_shape[1:])), F // groups, N * oh * ow
    lanes = VECTOR_BYTES // x.itemsize
    nr = NV * lanes
    dy_row = odd_lines(filters, lanes)
    held = max(1, min(-(-pixels // PIXELS), HELD_BYTES // ((K + dy_row) * PIXELS * x.itemsize)))  # blocks of pixels
    row = odd_lines(PIXELS + lanes - 1, lanes)
    tasks = -(-K // ROWS) * -(-filters // nr)
    parts = max(1, min(16 // tasks, held))  # few tasks: the pixels are cut too, their sums added in order
    work = scratch(x.dtype, held * (K * row + PIXELS * dy_row) + parts * K * filters)
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
        (held, row, dy_row, parts, nr),
        work,
    )
    return dweight


@kernel(parallel=True)
def _weight_grad(dy, x, source, dweight, sizes, taps_y, taps_x, grid, plan, work):
    """Packs and multiplies blocks of pixels in turn, and adds the parts up after the last."""
    groups, channels, filters, pixels = sizes
    held, _, _, parts, nr = plan
    K, blocks = channels * taps_y.size, (pixels + PIXELS - 1) // PIXELS
    k_blocks, f_blocks = (K + ROWS - 1) // ROWS, (filters + nr - 1) // nr
    for g in range(groups):
        for b0 in range(0, blocks, held):
            b_count = min(held, blocks - b0)
            finish = (filters + 15) // 16 if b0 + held >= blocks else 0
            for phase in range(3):
                tasks = (b_count * (k_blocks + 1), parts * k_blocks * f_blocks, finish)[phase]
                for index in prange(tasks):
                    task = np.int64(index)
                    if phase == 0:
                        _pack(task, dy, x, source, g, b0, sizes, taps_y, taps_x, grid, plan, work)
                    elif phase == 1:
                        _multiply(task, K, b0, b_count, sizes, plan, work)
                    else:
                        _finish(task * 16, K, g, sizes, plan, work, dweight)


@kernel
def _pack(task, dy, x, source, g, b0, sizes, taps_y, taps_x, grid, plan, work):
    """One block of pixels: ROWS rows of columns, or dyᵀ."""
    groups, channels, filters, pixels = sizes
    held, row, dy_row, _, _ = plan
    K = channels * taps_y.size
    k_blocks = (K + ROWS - 1) // ROWS
    b, k = task // (k_blocks + 1), task % (k_blocks + 1) * ROWS
    q = (b0 + b) * PIXELS
    q_count = min(PIXELS, pixels - q)
    if k < k_blocks * ROWS:
        pack_columns(
            x, source, g * channels, taps_y, taps_x, grid, k, min(ROWS, K - k), q, q_count,
            work, (b * K + k) * row, row,
        )  # fmt: skip
    else:
        to = held * K * row + b * PIXELS * dy_row
        _transpose_dy(dy, groups * filters, g * filters, filters, grid[0] * grid[1], q, q_count, work, to, dy_row)


@kernel
def _multiply(task, K, b0, b_count, sizes, plan, work):
    """Adds one part of the held pixels to ROWS × NR sums of dweightᵀ."""
    _, _, filters, pixels = sizes
    held, row, dy_row, parts, nr = plan
    k_blocks, f_blocks = (K + ROWS - 1) // ROWS, (filters + nr - 1) // nr
    part, rest = task // (k_blocks * f_blocks), task % (k_blocks * f_blocks)
    k0, f = rest // f_blocks * ROWS, rest % f_blocks * nr
    dy_first = held * K * row
    sums = dy_first + held * PIXELS * dy_row
    first, last = b_count * part // parts, b_count * (part + 1) // parts
    for b in range(first, max(last, first + 1)):
        q_count = min(PIXELS, pixels - (b0 + b) * PIXELS) if b < last else 0  # an empty part begins with zeros too
        for k in range(k0, min(K, k0 + ROWS), MR):  # (k, P) @ (P, f) -> (k, f)
            tile_product(
                q_count, work, (b * K + k) * row, row, 1, work, dy_first + b * PIXELS * dy_row + f, dy_row,
                work, sums + (part * K + k) * filters + f, filters,
                min(MR, K - k), min(nr, filters - f), b0 > 0 or b > first,
            )  # fmt: skip


@kernel
def _finish(f, K, g, sizes, plan, work, dweight):
    """Adds the parts in order and transposes the sums of filters from f into dweight."""
    filters = sizes[2]
    held, row, dy_row, parts, _ = plan
    f_count = min(16, filters - f)
    sums = held * (K * row + PIXELS * dy_row) + f
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
