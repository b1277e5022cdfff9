"""The weight gradient as an implicit GEMM: dweight = Σ_n dy[n] (F, P) · columns(x[n])ᵀ (P, K).

Computed as dweightᵀ (K, F) = columns (K, P) · dyᵀ (P, F), so that only dy, the smaller factor, has to be transposed.
"""

import numpy as np
from numba import prange

from .cache import kernel
from .im2col import pack_columns
from .implicit import kernel_taps
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
    dweight = np.empty(weight_shape, dy.dtype)
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
    groups, channels, filters, pixels = sizes
    held, row, dy_row, parts, nr = plan
    K, P = channels * taps_y.size, grid[0] * grid[1]
    blocks = (pixels + PIXELS - 1) // PIXELS
    k_blocks, f_blocks = (K + ROWS - 1) // ROWS, (filters + nr - 1) // nr
    dy_first = held * K * row
    sums = dy_first + held * PIXELS * dy_row
    for g in range(groups):
        for b0 in range(0, blocks, held):
            b_count = min(held, blocks - b0)
            for task in prange(b_count * (k_blocks + 1)):
                b, k = task // (k_blocks + 1), task % (k_blocks + 1) * ROWS
                q = (b0 + b) * PIXELS
                q_count = min(PIXELS, pixels - q)
                if k < K:
                    pack_columns(
                        x, source, g * channels, taps_y, taps_x, grid, k, min(ROWS, K - k), q, q_count,
                        work, (b * K + k) * row, row,
                    )  # fmt: skip
                else:
                    _transpose_dy(
                        dy, groups * filters, g * filters, filters, P, q, q_count,
                        work, dy_first + b * PIXELS * dy_row, dy_row,
                    )  # fmt: skip
            for task in prange(parts * k_blocks * f_blocks):
                part, rest = task // (k_blocks * f_blocks), task % (k_blocks * f_blocks)
                k0, f = rest // f_blocks * ROWS, rest % f_blocks * nr
                first, last = b_count * part // parts, b_count * (part + 1) // parts
                for b in range(first, max(last, first + 1)):
                    # an empty part (b = last) still begins with zeros
                    q_count = min(PIXELS, pixels - (b0 + b) * PIXELS) if b < last else 0
                    for k in range(k0, min(K, k0 + ROWS), MR):  # (k, P) @ (P, f) -> (k, f)
                        tile_product(
                            q_count, work, (b * K + k) * row, row, 1, work, dy_first + b * PIXELS * dy_row + f, dy_row,
                            work, sums + (part * K + k) * filters + f, filters,
                            min(MR, K - k), min(nr, filters - f), b0 > 0 or b > first,
                        )  # fmt: skip
        for k in prange(K):
            total = work[sums + k * filters : sums + (k + 1) * filters]
            for part in range(1, parts):
                more = work[sums + (part * K + k) * filters : sums + (part * K + k + 1) * filters]
                for f in range(filters):
                    total[f] += more[f]
        for chunk in prange((filters + 15) // 16):
            f = chunk * 16
            transpose(dweight, (g * filters + f) * K, K, work, sums + f, filters, K, min(16, filters - f))


@kernel
def _transpose_dy(dy, F, f_first, filters, P, q_first, q_count, out, out_at, row):
    """out (q_count, row)[q, f] = dy[n, f_first + f, p] for q = (n, p)."""
    q = 0
    while q < q_count:
        n, p = (q_first + q) // P, (q_first + q) % P
        run = min(q_count - q, P - p)
        transpose(out, out_at + q * row, row, dy, (n * F + f_first) * P + p, P, filters, run)
        q += run
