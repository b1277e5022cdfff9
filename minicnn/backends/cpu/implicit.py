"""Convolution as an implicit GEMM: the columns are made block by block in cache, just before they are multiplied.

    forward   y[n]    = weight (F, K) · columns(x[n]) (K, P)         K = (C, kh, kw), P = (oh, ow)
    dx        dx[n]   = weightᵀ (C, F·taps) · columns(dy[n])          one such product a phase of the stride
    dweight   dweight = Σ_n dy[n] (F, P) · columns(x[n])ᵀ (P, K)

Padding is read as zeros. Work is cut by shapes alone, so the result does not depend on the number of threads.
"""

from functools import lru_cache

import numba
import numpy as np
from numba import prange

from ..settings import get_num_threads
from .cache import kernel
from .im2col import pack_columns
from .moves import transpose
from .scratch import scratch
from .simd import MR, NV, VECTOR_BYTES, tile_product
from .threads import launch

KC = 256  # rows of columns a block: with PC columns 200 KB, a fifth of a core's L2
PANELS = 4  # tiles side by side in a block, which share a panel of the weights in L1
PIXELS = 256  # pixels a block of the weight gradient sums over
ROWS = 384  # rows of columns a task of the weight gradient


def tile_columns(dtype) -> int:
    """NR, the columns of a tile."""
    return NV * VECTOR_BYTES // np.dtype(dtype).itemsize


@lru_cache(maxsize=256)
def kernel_taps(kernel_size, padding, dilation):
    """Where each tap of the kernel reads, relative to stride times the output position: (rows, columns)."""
    i, j = np.indices(kernel_size, dtype=np.int64).reshape(2, -1)
    return i * dilation[0] - padding[0], j * dilation[1] - padding[2]


def forward(x, weight, bias, stride, padding, dilation, groups, out_size):
    """y = weight · columns(x) + bias"""
    N, F = x.shape[0], weight.shape[0]
    y = np.empty((N, F, *out_size), x.dtype)
    taps = kernel_taps(weight.shape[2:], padding, dilation)
    grid = (*out_size, *stride)
    product(x, weight.reshape(-1), bias, y, groups, taps, grid, (0, 0, 1, 1))
    return y


def input_grad(dy, weight, x_shape, stride, padding, dilation, groups):
    # forward: y[oy] = Σ_i weight[i] · x[oy·stride + i·dilation − top]
    # so dx[h] = Σ_i weight[i] · dy[(h + top − i·dilation) / stride], over the taps i that divide without rest
    (_, C, H, W), (stride_h, stride_w), (top, _, left, _) = x_shape, stride, padding
    F, _, kh, kw = weight.shape
    dx = np.empty(x_shape, dy.dtype)
    by_channel = weight.reshape(groups, F // groups, C // groups, kh, kw).transpose(0, 2, 1, 3, 4)
    for h in range(min(stride_h, H)):  # the phases: pixels h, h + stride_h, … meet the same taps
        rows = _taps_of_phase(h + top, kh, stride_h, dilation[0])
        for w in range(min(stride_w, W)):
            columns = _taps_of_phase(w + left, kw, stride_w, dilation[1])
            taps = _pairs(rows[1], columns[1])
            filters = np.ascontiguousarray(by_channel[:, :, :, rows[0]][..., columns[0]])
            out_size = (H - h + stride_h - 1) // stride_h, (W - w + stride_w - 1) // stride_w
            if filters.size:
                product(dy, filters.reshape(-1), None, dx, groups, taps, (*out_size, 1, 1), (h, w, *stride))
            else:
                dx[:, :, h::stride_h, w::stride_w] = 0
    return dx


def _taps_of_phase(position, size, stride, dilation):
    """The taps i with position − i·dilation divisible by stride, and the quotients."""
    taps = [i for i in range(size) if (position - i * dilation) % stride == 0]
    return taps, [(position - i * dilation) // stride for i in taps]


def _pairs(rows, columns):
    offsets = np.array([(r, c) for r in rows for c in columns], np.int64).reshape(-1, 2)
    return np.ascontiguousarray(offsets[:, 0]), np.ascontiguousarray(offsets[:, 1])


def product(x, weight, bias, y, groups, taps, grid, place):
    """y[n, f, place] = weight (groups, F, K) · columns(x) (+ bias[f]); place = (first row, first column, steps)."""
    (N, C, H, W), F = x.shape, y.shape[1]
    pixels = N * grid[0] * grid[1]
    nr = tile_columns(x.dtype)
    block = PANELS * nr
    pixel_blocks = -(-pixels // block)
    # few pixels: the filters are cut too, so that all threads have work, at the price of packing more than once
    filter_blocks = max(1, min(F // groups // (4 * MR), 16 // (groups * pixel_blocks)))
    row = block + VECTOR_BYTES // x.itemsize  # an odd number of cache lines, so that rows spread over all sets of L1
    size = KC * row + MR * nr
    work = scratch(x.dtype, get_num_threads() * size)
    sizes = (groups, C // groups, F // groups, pixels, filter_blocks)
    no_bias = np.empty(0, x.dtype) if bias is None else bias
    launch(
        _product,
        x.reshape(-1),
        (C, H, W),
        weight,
        no_bias,
        y.reshape(-1),
        y.shape[1:],
        sizes,
        *taps,
        grid,
        place,
        block,
        row,
        nr,
        work,
    )


@kernel(parallel=True)
def _product(x, source, weight, bias, y, target, sizes, taps_y, taps_x, grid, place, block, row, nr, work):
    groups, channels, filters, pixels, filter_blocks = sizes
    K = channels * taps_y.size
    P, plane = grid[0] * grid[1], target[1] * target[2]
    whole = place == (0, 0, 1, 1)
    pixel_blocks = (pixels + block - 1) // block
    per_block = ((filters + filter_blocks - 1) // filter_blocks + MR - 1) // MR * MR
    for task in prange(groups * pixel_blocks * filter_blocks):
        g, rest = task // (pixel_blocks * filter_blocks), task % (pixel_blocks * filter_blocks)
        q_first, f_first = rest // filter_blocks * block, rest % filter_blocks * per_block
        q_count, f_last = min(block, pixels - q_first), min(filters, f_first + per_block)
        columns_at = numba.get_thread_id() * (KC * row + MR * nr)
        tile_at = columns_at + KC * row
        for k in range(0, K, KC):
            k_count = min(KC, K - k)
            pack_columns(
                x, source, g * channels, taps_y, taps_x, grid, k, k_count, q_first, q_count, work, columns_at, row
            )
            for f in range(f_first, f_last, MR):
                f_count = min(MR, f_last - f)
                weight_at = (g * filters + f) * K + k
                for j in range(0, q_count, nr):
                    count = min(nr, q_count - j)
                    n, p = (q_first + j) // P, (q_first + j) % P
                    y_at = (n * target[0] + g * filters + f) * plane
                    if whole and p + count <= P:  # (f, K) @ (K, p) -> (f, p), straight into y
                        tile_product(
                            k_count,
                            weight,
                            weight_at,
                            K,
                            1,
                            work,
                            columns_at + j,
                            row,
                            y,
                            y_at + p,
                            plane,
                            f_count,
                            count,
                            k > 0,
                        )
                    else:  # the tile spans images, or its pixels do not lie side by side
                        tile_product(
                            k_count,
                            weight,
                            weight_at,
                            K,
                            1,
                            work,
                            columns_at + j,
                            row,
                            work,
                            tile_at,
                            nr,
                            f_count,
                            count,
                            False,
                        )
                        _scatter(work, tile_at, nr, f_count, count, y, y_at, target, grid, place, p, k > 0)
        if bias.size:
            for f in range(g * filters + f_first, g * filters + f_last):
                _add_bias(y, bias[f], f, q_first, q_count, target[0], P)


@kernel
def _scatter(tile, tile_at, tile_row, rows, count, y, y_at, target, grid, place, p, accumulate):
    """y[row, p…] = tile[row] or +=, where p runs on into the next image."""
    F, H, W = target
    first_y, first_x, step_y, step_x = place
    for i in range(rows):
        at, oy, ox = y_at + i * H * W, p // grid[1], p % grid[1]
        j = 0
        while j < count:
            run = min(count - j, grid[1] - ox)
            line = at + (first_y + oy * step_y) * W + first_x + ox * step_x
            to, values = y[line : line + (run - 1) * step_x + 1], tile[tile_at + i * tile_row + j :]
            if accumulate:
                for t in range(run):
                    to[t * step_x] += values[t]
            else:
                for t in range(run):
                    to[t * step_x] = values[t]
            j += run
            oy, ox = oy + 1, 0
            if oy == grid[0]:
                oy, at = 0, at + F * H * W


@kernel
def _add_bias(y, value, f, q_first, q_count, F, P):
    """y[n, f, p] += value for the pixels q = (n, p) of a block."""
    q, end = q_first, q_first + q_count
    while q < end:
        n, p = q // P, q % P
        run = min(end - q, P - p)
        at = (n * F + f) * P + p
        line = y[at : at + run]
        for t in range(run):
            line[t] += value
        q += run


def weight_grad(dy, x, weight_shape, stride, padding, dilation, groups):
    # forward: y = weight @ columns(x), so dL/dweight = dy @ columns(x).T, summed over the images
    N, F, oh, ow = dy.shape
    C, H, W = x.shape[1:]
    K, filters, pixels = int(np.prod(weight_shape[1:])), F // groups, N * oh * ow
    nr = tile_columns(x.dtype)
    row_blocks = -(-K // ROWS)
    # few rows: the pixels are cut too, into parts whose sums are added in order
    parts = max(1, min(16 // (groups * row_blocks), pixels // 1024))
    padded = -(-filters // nr) * nr
    row = PIXELS + VECTOR_BYTES // x.itemsize
    rows = min(K, ROWS)
    size = rows * row + PIXELS * padded
    total = parts * groups * K * filters
    work = scratch(x.dtype, total + get_num_threads() * size)
    dweight = np.empty(weight_shape, dy.dtype)
    sizes = (groups, C // groups, filters, pixels, parts, row_blocks)
    launch(
        _weight_grad,
        dy.reshape(-1),
        x.reshape(-1),
        (C, H, W),
        dweight.reshape(-1),
        sizes,
        *kernel_taps(weight_shape[2:], padding, dilation),
        (oh, ow, *stride),
        rows,
        row,
        padded,
        nr,
        work,
    )
    return dweight


@kernel(parallel=True)
def _weight_grad(dy, x, source, dweight, sizes, taps_y, taps_x, grid, rows, row, padded, nr, work):
    """Computes dweightᵀ (K, F) = columns (K, P) · dyᵀ (P, F): only dy, the smaller factor, is transposed."""
    groups, channels, filters, pixels, parts, row_blocks = sizes
    K = channels * taps_y.size
    P = grid[0] * grid[1]
    part = ((pixels + parts - 1) // parts + PIXELS - 1) // PIXELS * PIXELS
    total = parts * groups * K * filters
    for task in prange(parts * groups * row_blocks):
        s, rest = task // (groups * row_blocks), task % (groups * row_blocks)
        g, k = rest // row_blocks, rest % row_blocks * ROWS
        k_count = min(ROWS, K - k)
        columns_at = total + numba.get_thread_id() * (rows * row + PIXELS * padded)
        dy_at = columns_at + rows * row
        sum_at = ((s * groups + g) * K + k) * filters
        work[sum_at : sum_at + k_count * filters] = 0
        for q in range(s * part, min(pixels, (s + 1) * part), PIXELS):
            q_count = min(PIXELS, pixels - q)
            pack_columns(x, source, g * channels, taps_y, taps_x, grid, k, k_count, q, q_count, work, columns_at, row)
            _transpose_dy(dy, groups * filters, g * filters, filters, P, q, q_count, work, dy_at, padded)
            for f in range(0, filters, nr):
                f_count = min(nr, filters - f)
                for i in range(0, k_count, MR):  # (k, P) @ (P, f) -> (k, f)
                    tile_product(
                        q_count,
                        work,
                        columns_at + i * row,
                        row,
                        1,
                        work,
                        dy_at + f,
                        padded,
                        work,
                        sum_at + i * filters + f,
                        filters,
                        min(MR, k_count - i),
                        f_count,
                        True,
                    )
    for gf in prange(groups * filters):
        g, f = gf // filters, gf % filters
        for k in range(K):  # a transposed sum of the parts, in order
            total_sum = work[(g * K + k) * filters + f]
            for s in range(1, parts):
                total_sum += work[((s * groups + g) * K + k) * filters + f]
            dweight[gf * K + k] = total_sum


@kernel
def _transpose_dy(dy, F, f_first, filters, P, q_first, q_count, out, out_at, padded):
    """out (q_count, padded)[q, f] = dy[n, f_first + f, p] for q = (n, p)."""
    q = 0
    while q < q_count:
        n, p = (q_first + q) // P, (q_first + q) % P
        run = min(q_count - q, P - p)
        transpose(out, out_at + q * padded, padded, dy, (n * F + f_first) * P + p, P, filters, run)
        q += run
