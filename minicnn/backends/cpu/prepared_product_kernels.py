"""Matrix products with packed weights: implicit.py and gemm.py for inference, and what follows the product.

    convolve    y[n] = weight (F, K) · columns(x[n]) (K, P)          K = (C, kh, kw), P = (oh, ow)
    linear      y = x (M, K) · weightᵀ (K, R)

then bias, residual and ReLU while y is in cache. The left operand of the microkernel is a panel of MR filters, of which
K steps of MR numbers lie side by side; the right one of `linear` is a panel of outputs.
"""

import numba
import numpy as np
from numba import prange

from .cache import kernel
from .im2col import pack_columns
from .moves import spread_run
from .simd import MR, tile_product

CHUNK = 32  # rows of columns a packing task


@kernel(parallel=True, alone=True)
def convolve(x, source, packed, bias, residual, residual_too, relu, y, sizes, taps_y, taps_x, grid, plan, work):
    """Packs and multiplies blocks of columns. The last may be small: neighbouring tasks are of different blocks."""
    groups, channels, filters, pixels = sizes
    block, row, held, rows, _, nr = plan
    K, panels = channels * taps_y.size, (filters + MR - 1) // MR
    per_group = (pixels + block - 1) // block
    for b0 in range(0, groups * per_group, held):
        b_count = min(held, groups * per_group - b0)
        for phase in range(2):
            tasks = b_count * ((K + CHUNK - 1) // CHUNK, (filters + rows - 1) // rows)[phase]
            for index in prange(tasks):
                task = np.int64(index)
                part, b = task // b_count, task % b_count
                g, q = (b0 + b) // per_group, (b0 + b) % per_group * block
                if phase == 0:
                    k = part * CHUNK
                    pack_columns(
                        x, source, g * channels, taps_y, taps_x, grid, k, min(CHUNK, K - k), q, min(block, pixels - q),
                        work, (b * K + k) * row, row,
                    )  # fmt: skip
                else:
                    f_range = (part * rows, min(filters, part * rows + rows))
                    count, spare = min(block, pixels - q), held * K * row + numba.get_thread_id() * MR * nr
                    _multiply(
                        packed, g * panels * K * MR, y, groups * filters, g * filters, f_range, K, q, count, grid,
                        plan, work, b * K * row, spare,
                    )  # fmt: skip
                    for f in range(g * filters + f_range[0], g * filters + f_range[1]):
                        _finish(y, bias[f], residual, residual_too, relu, f, groups * filters, grid[0] * grid[1], q,
                                count)  # fmt: skip


@kernel
def _multiply(packed, at, y, F, f_first, f_range, K, q_first, q_count, grid, plan, work, columns, spare):
    """A block of columns times some filters, added up over blocks of K."""
    _, row, _, _, kc, nr = plan
    P = grid[0] * grid[1]
    for k in range(0, K, kc):
        k_count = min(kc, K - k)
        for f in range(f_range[0], f_range[1], MR):
            f_count, panel = min(MR, f_range[1] - f), at + f * K + k * MR
            for j in range(0, q_count, nr):
                count = min(nr, q_count - j)
                n, p = (q_first + j) // P, (q_first + j) % P
                to, from_ = (n * F + f_first + f) * P + p, columns + k * row + j
                if p + count <= P:  # (f, K) @ (K, p) -> (f, p), straight into y
                    tile_product(
                        k_count, packed, panel, 1, MR, work, from_, row, y, to, P, f_count, count, k > 0
                    )  # fmt: skip
                else:  # the tile spans images
                    tile_product(
                        k_count, packed, panel, 1, MR, work, from_, row, work, spare, nr, f_count, count, False
                    )  # fmt: skip
                    for i in range(f_count):
                        _spread(work, spare + i * nr, count, y, to + i * P, p, P, F, k > 0)


@kernel
def _spread(tile, at, count, y, to, p, P, F, accumulate):
    """A row of a tile into y from pixel p of an image on, and into the same filter of those that follow."""
    done = 0
    while done < count:
        run = min(count - done, P - p)
        spread_run(y, to, 1, run, tile, at + done, accumulate)
        done += run
        to, p = to + run + (F - 1) * P, 0


@kernel
def _finish(y, bias, residual, residual_too, relu, f, F, P, q, count):
    """y[n, f, p] = [relu](y + bias [+ residual]) for the pixels (n, p) from q on."""
    end, zero = q + count, y.dtype.type(0)
    while q < end:
        n, p = q // P, q % P
        run = min(end - q, P - p)
        at = (n * F + f) * P + p
        line, other = y[at : at + run], residual[at : at + run]
        if residual_too:
            for t in range(run):
                line[t] += bias + other[t]
        else:
            for t in range(run):
                line[t] += bias
        if relu:
            for t in range(run):
                line[t] = zero if line[t] <= zero else line[t]
        q += run


@kernel(parallel=True, alone=True)
def linear(x, packed, bias, relu, y, sizes, plan):
    """A panel of outputs and some rows of x a task."""
    M, K, R = sizes
    rows, nr = plan
    panels, zero = (R + nr - 1) // nr, y.dtype.type(0)
    for index in prange(panels * ((M + rows - 1) // rows)):
        task = np.int64(index)
        panel, first = task % panels, task // panels * rows
        o, count, last = panel * nr, min(nr, R - panel * nr), min(M, first + rows)
        for m in range(first, last, MR):  # (m, K) @ (K, o) -> (m, o)
            tile_product(
                K, x, m * K, K, 1, packed, o * K, nr, y, m * R + o, R, min(MR, last - m), count, False
            )  # fmt: skip
        for m in range(first, last):
            line, added = y[m * R + o : m * R + o + count], bias[o : o + count]
            for t in range(count):
                value = line[t] + added[t]
                line[t] = zero if relu and value <= zero else value
