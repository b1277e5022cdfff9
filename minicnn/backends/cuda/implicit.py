"""Convolution as an implicit GEMM: the columns are gathered slice by slice into shared memory, and never stored.

    forward   y (F, N·P)  = weight (F, K) · columns(x) (K, N·P)         K = (C, kh, kw), P = (oh, ow)
    dx        dx (C, N·P) = weightᵀ (C, F·taps) · columns(dy)           one such product a phase of the stride

Rows are filters, columns the output pixels of all images: neighbouring threads gather neighbouring pixels. What lies in
the padding arrives as zeros. See tile.py for the product and columns.py for where a column lies.
"""

from functools import cache

import numba
import numpy as np
from numba import cuda, int32

from .arrays import BLOCK, blocks, empty
from .columns import OUTSIDE, PHASE, forward_table, gradient_tables
from .launch import device, kernel, launch
from .moves import ALIGNMENT, copy_async, wait_all
from .slices import finish, parts_for, slices_for
from .tile import PAD, make_copy, make_multiply, tile_for
from .vector import load4, store4


def forward(x, weight, bias, stride, padding, dilation, groups, out_size, residual=None, relu=False, y=None):
    """y = [relu](weight · columns(x) + bias + residual), in a new array or in y; arrays as `canonical` gives them."""
    (N, C, H, W), F = x.shape, weight.shape[0]
    tile = tile_for(F // groups, x.dtype)
    K = weight[0].size
    table, phases = forward_table(C // groups, weight.shape[2:], (H, W), out_size, padding, dilation, tile.BK)
    y = empty((N, F, *out_size), x.dtype) if y is None else y
    places = ((0, 0, *out_size, 0, 0, K, 0),)
    product(x, weight.reshape(-1), table, phases, places, y, tile, groups, stride, (1, 1), bias, residual, relu)
    return y


def input_grad(dy, weight, x_shape, stride, padding, dilation, groups):
    # forward: y = weight · columns(x), so dL/dx = weightᵀ · columns(dL/dy), one product a phase
    (F, C), size = (weight.shape[0], x_shape[1]), x_shape[2:]
    tile = tile_for(C // groups, dy.dtype)
    table, phases, taps, places = gradient_tables(
        C, F // groups, weight.shape[2:], size, dy.shape[2:], stride, padding, dilation, tile.BK
    )
    filters = empty((weight.size,), dy.dtype)
    sizes = (weight.size, C // groups, F // groups, weight[0, 0].size, len(places))
    launch(_filters_by_channel, blocks(weight.size, BLOCK), BLOCK, weight.reshape(-1), phases, taps, filters, sizes)
    dx = empty(x_shape, dy.dtype)
    product(dy, filters, table, phases, places, dx, tile, groups, (1, 1), stride)
    return dx


@kernel
def _filters_by_channel(weight, phases, taps, filters, sizes):
    """A phase's filters (groups · C, F · taps) = weight (groups · F, C, kh · kw)[…, taps of the phase]."""
    size, C, F, all_taps, n_phases = sizes
    at = cuda.grid(1)
    first_tap = 0
    for phase in range(n_phases):
        begin, K, count = phases[PHASE * phase + 5], phases[PHASE * phase + 6], phases[PHASE * phase + 7]
        row, k = (at - begin) // max(K, 1), (at - begin) % max(K, 1)
        if 0 <= row < size // (F * all_taps) and K > 0:
            f, c = row // C * F + k // count, row % C
            filters[at] = weight[(f * C + c) * all_taps + taps[first_tap + k % count]]
        first_tap += count


def product(x, filters, table, phases, places, y, tile, groups, stride, step, bias=None, residual=None, relu=False):
    """y[n, f, h + a·step_h, w + b·step_w] = [relu](filters · columns(x) + bias + residual), for each phase (h, w)."""
    (N, C, H, W), (_, F, YH, YW) = x.shape, y.shape
    M = F // groups
    pixels = [N * place[2] * place[3] for place in places]
    down = blocks(M, tile.BM)
    tiles = groups * down * sum(blocks(p, tile.BN) for p in pixels)
    slices = slices_for(tiles, tile, blocks(places[0][6], tile.BK))
    flat = y.reshape(-1)
    parts = parts_for(flat, slices)
    finishing = (bias is not None, residual is not None, relu) if slices == 1 else (False, False, False)
    whole = step == (1, 1) and YH * YW % 4 == 0  # four pixels lie side by side in one image
    launch(
        _product(tile, x.dtype),
        (down * blocks(max(pixels), tile.BN), slices, groups * len(places)),
        tile.threads,
        x.reshape(-1),
        filters,
        table,
        phases,
        flat if bias is None else bias,
        flat if residual is None else residual.reshape(-1),
        parts,
        (N, M, len(places)),
        (C * H * W, C // groups * H * W, H, W, *stride),
        (F * YH * YW, YH * YW, YW, *step, y.size, int(whole)),
        tuple(map(int, finishing)),
    )
    if slices > 1:
        finish(parts, flat, slices, YH * YW, bias, None if residual is None else residual.reshape(-1), relu)


@device
def place_of(p, height, width):
    """(image, row, column) of pixel p of all images; fewer than 2³¹ pixels, so 32-bit divisions do."""
    line = numba.uint32(p) // numba.uint32(width)
    image = numba.uint32(line) // numba.uint32(height)
    column = int32(p) - int32(line) * int32(width)
    return int32(image), int32(line) - int32(image) * int32(height), column


@cache
def _product(tile, dtype):
    """The kernel. Grid: (tiles, those of one column of tiles first; slices of k; groups · phases)."""
    number = numba.from_dtype(np.dtype(dtype))
    BM, BN, BK, TM, TN = tile
    A_SLICE, B_ROW, SUMS, THREADS = BK * (BM + PAD), BN + PAD, TM * TN, tile.threads
    B_SLICE = BK * B_ROW
    A_SHARED, B_SHARED = 2 * A_SLICE, 2 * B_SLICE
    ROWS_APART = 4 * BM // TM  # from one group of four rows to the thread's next
    COLUMNS = max(1, BN // THREADS)  # a thread gathers, for all slices
    HOP = max(1, THREADS // BN)  # rows of the columns that all threads gather at once
    AHEAD = min(4, BK // HOP)  # entries of the table that are read at once
    COPIES = AHEAD * COLUMNS
    copy_filters, multiply = make_copy(tile, BM, "k", dtype), make_multiply(tile, number)

    @device
    def gather(to, to_at, x, base, y0, x0, table, entry, H, W):
        offsets, inside = cuda.local.array(AHEAD, int32), cuda.local.array(COPIES, numba.boolean)
        first = cuda.threadIdx.x // BN
        for start in range(0, BK // HOP, AHEAD):
            for r in range(AHEAD):  # several reads of the table before a copy, which the compiler keeps in order
                offsets[r], i, j, _ = load4(table, 4 * (entry + first + (start + r) * HOP))
                for c in range(COLUMNS):
                    h, w = int32(y0[c] + i), int32(x0[c] + j)
                    inside[r * COLUMNS + c] = 0 <= h < H and 0 <= w < W
            for r in range(AHEAD):
                to_row = to_at + (first + (start + r) * HOP) * B_ROW + cuda.threadIdx.x % BN
                for c in range(COLUMNS):
                    copy_async(to, to_row + c * THREADS, x, base[c] + offsets[r], inside[r * COLUMNS + c])

    @device
    def finish_and_store(sums, at, plane, channel0, channels, bias, residual, y, whole, finishing):
        """at[j]: where column j lies in channel 0, negative where it does not exist. Each loop is small enough for the
        compiler to write it out, so that the sums stay in registers."""
        with_bias, with_residual, relu = finishing
        if with_bias:
            for i in range(TM):
                channel = min(channel0 + i // 4 * ROWS_APART + i % 4, channels - 1)
                for j in range(TN):
                    sums[i * TN + j] += bias[channel]
        if with_residual:
            for i in range(TM):
                channel = min(channel0 + i // 4 * ROWS_APART + i % 4, channels - 1)
                for j in range(TN):
                    sums[i * TN + j] += residual[max(at[j], 0) + channel * plane]
        if relu:
            for s in range(SUMS):
                sums[s] = number(0) if sums[s] <= 0 else sums[s]
        for i in range(TM):
            channel = channel0 + i // 4 * ROWS_APART + i % 4
            if channel < channels and whole:
                for g in range(TN // 4):
                    s = i * TN + 4 * g
                    if at[4 * g] >= 0:
                        store4(y, at[4 * g] + channel * plane, sums[s], sums[s + 1], sums[s + 2], sums[s + 3])
            elif channel < channels:
                for j in range(TN):
                    if at[j] >= 0:
                        y[at[j] + channel * plane] = sums[i * TN + j]

    @kernel(threads=tile.bounds)
    def convolution(x, filters, table, phases, bias, residual, y, sizes, source, target, finishing):
        images, M, n_phases = sizes
        image_step, group_step, H, W, stride_h, stride_w = source
        y_image, plane, width, step_h, step_w, y_size, whole = target
        group, phase = cuda.blockIdx.z // n_phases, cuda.blockIdx.z % n_phases * PHASE
        rows, columns, K = phases[phase + 2], phases[phase + 3], phases[phase + 6]
        tiles_down = (M + BM - 1) // BM
        m0, n0 = cuda.blockIdx.x % tiles_down * BM, cuda.blockIdx.x // tiles_down * BN
        pixels = images * rows * columns
        if n0 >= pixels:
            return  # another phase is larger
        steps = (K + BK - 1) // BK
        steps = (steps + cuda.gridDim.y - 1) // cuda.gridDim.y
        first = cuda.blockIdx.y * steps * BK
        last = min(first + steps * BK, K)

        base = cuda.local.array(COLUMNS, numba.int64)
        y0, x0 = cuda.local.array(COLUMNS, int32), cuda.local.array(COLUMNS, int32)
        for c in range(COLUMNS):
            p = n0 + cuda.threadIdx.x % BN + c * THREADS
            image, row, column = place_of(p, rows, columns)
            y0[c] = row * stride_h if p < pixels else OUTSIDE
            x0[c] = column * stride_w
            base[c] = image * image_step + group * group_step + row * stride_h * W + column * stride_w
        a_shared = cuda.shared.array(A_SHARED, number, ALIGNMENT)
        b_shared = cuda.shared.array(B_SHARED, number, ALIGNMENT)
        sums = cuda.local.array(SUMS, number)
        for s in range(SUMS):
            sums[s] = 0
        H, W, a_step, a_rows = int32(H), int32(W), int32(K), int32(min(M - m0, BM))
        a_at, entry = phases[phase + 5] + (group * M + m0) * K, phases[phase + 4]
        if first < last:
            copy_filters(a_shared, 0, filters, a_at + first, a_step, 1, a_rows, int32(min(last - first, BK)))
            gather(b_shared, 0, x, base, y0, x0, table, entry + first, H, W)
        held = 0
        for k in range(first, last, BK):
            wait_all()
            cuda.syncthreads()  # this slice is there, and nobody reads the other any more
            after, other = k + BK, 1 - held
            if after < last:
                depth = int32(min(last - after, BK))
                copy_filters(a_shared, other * A_SLICE, filters, a_at + after, a_step, 1, a_rows, depth)
                gather(b_shared, other * B_SLICE, x, base, y0, x0, table, entry + after, H, W)
            multiply(a_shared, held * A_SLICE, b_shared, held * B_SLICE, sums)
            held = other

        corner = phases[phase] * width + phases[phase + 1] + cuda.blockIdx.y * y_size
        at = cuda.local.array(TN, numba.int64)
        for j in range(TN):
            p = n0 + cuda.threadIdx.x % (BN // TN) * 4 + j // 4 * (4 * BN // TN) + j % 4
            image, row, column = place_of(p, rows, columns)
            start = image * y_image + row * step_h * width + column * step_w + corner
            at[j] = start if p < pixels else -1
        channel0 = group * M + m0 + cuda.threadIdx.x // (BN // TN) * 4
        finish_and_store(sums, at, plane, channel0, group * M + M, bias, residual, y, whole, finishing)

    return convolution
