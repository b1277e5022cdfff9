"""The gradient of a convolution's weights as an implicit GEMM.

    dweight (F, K) = dy (F, N·P) · columns(x)ᵀ (N·P, K)        K = (C, kh, kw), P = (oh, ow)

The long side is summed over: all output pixels of all images, in slices (see slices.py), each in a fixed order.
Neighbouring threads read neighbouring pixels of dy and of x; what lies in the padding arrives as zeros.
"""

from functools import cache

import numba
import numpy as np
from numba import cuda, int32

from .arrays import blocks, empty
from .columns import OUTSIDE, forward_table
from .implicit import place_of
from .launch import device, kernel, launch
from .moves import ALIGNMENT, copy_async, wait_all
from .slices import finish, parts_for, slices_for
from .tile import PAD, make_multiply, make_store, tile_for
from .vector import load4


def weight_grad(dy, x, weight_shape, stride, padding, dilation, groups):
    # forward: y = weight · columns(x), so dL/dweight = dL/dy · columns(x)ᵀ, summed over the images
    (N, F, oh, ow), (_, C, H, W), K = dy.shape, x.shape, int(np.prod(weight_shape[1:]))
    M = F // groups
    tile = tile_for(M, x.dtype)
    table, _ = forward_table(C // groups, weight_shape[2:], (H, W), (oh, ow), padding, dilation, tile.BN)
    dweight = empty(weight_shape, x.dtype)
    tiles, steps = blocks(M, tile.BM) * blocks(K, tile.BN), blocks(N * oh * ow, tile.BK)
    slices = slices_for(tiles * groups, tile, steps)
    flat = dweight.reshape(-1)
    parts = parts_for(flat, slices)
    launch(
        _product(tile, x.dtype),
        (tiles, slices, groups),
        tile.threads,
        dy.reshape(-1),
        x.reshape(-1),
        table,
        parts,
        (M, K, N, oh, ow, blocks(steps, slices), dweight.size),
        (C * H * W, C // groups * H * W, H, W, *stride),
    )
    if slices > 1:
        finish(parts, flat, slices)
    return dweight


@cache
def _product(tile, dtype):
    """The kernel. Grid: (tiles, those of one column of tiles first; slices of pixels; groups)."""
    number = numba.from_dtype(np.dtype(dtype))
    BM, BN, BK, TM, TN = tile
    A_ROW, B_ROW, SUMS, THREADS = BM + PAD, BN + PAD, TM * TN, tile.threads
    A_SLICE, B_SLICE = BK * A_ROW, BK * B_ROW
    A_SHARED, B_SHARED, TABLE = 2 * A_SLICE, 2 * B_SLICE, 4 * BN
    HOP = THREADS // BK  # rows of dy, or columns, that all threads copy at once
    AHEAD = min(4, BN // HOP)  # entries of the table that are read at once
    multiply, store = make_multiply(tile, number), make_store(tile)

    @device
    def copy_slice(a, b, held, dy, x, table, pixel, pixels, dy_at, x_at, rows, shape, source):
        """A pixel a lane: its number in each of the rows of dy, and in each of the columns."""
        filters_plane, plane, oh, ow = shape
        image_step, H, W, stride_h, stride_w = source
        k = cuda.threadIdx.x % BK
        image, row, column = place_of(pixel, oh, ow)
        there = pixel < pixels
        dy_from = dy_at + image * filters_plane + row * ow + column
        y0, x0 = int32(row * stride_h) if there else int32(OUTSIDE), int32(column * stride_w)
        x_from = x_at + image * image_step + row * stride_h * W + x0
        for r in range(BM // HOP):
            m = cuda.threadIdx.x // BK + r * HOP
            copy_async(a, held * A_SLICE + k * A_ROW + m, dy, dy_from + m * plane, there and m < rows)
        offsets, inside = cuda.local.array(AHEAD, int32), cuda.local.array(AHEAD, numba.boolean)
        for start in range(0, BN // HOP, AHEAD):
            for r in range(AHEAD):  # several reads of the table before a copy, which the compiler keeps in order
                offset, i, j, _ = load4(table, 4 * (cuda.threadIdx.x // BK + (start + r) * HOP))
                h, w = int32(y0 + i), int32(x0 + j)
                offsets[r], inside[r] = offset, 0 <= h < H and 0 <= w < W
            for r in range(AHEAD):
                n = cuda.threadIdx.x // BK + (start + r) * HOP
                copy_async(b, held * B_SLICE + k * B_ROW + n, x, x_from + offsets[r], inside[r])

    @kernel(threads=tile.bounds)
    def weight_gradient(dy, x, table, dweight, sizes, source):
        M, K, images, oh, ow, steps, size = sizes
        image_step, group_step, H, W, stride_h, stride_w = source
        plane, pixels, group = oh * ow, images * oh * ow, cuda.blockIdx.z
        tiles_down = (M + BM - 1) // BM
        m0, n0 = cuda.blockIdx.x % tiles_down * BM, cuda.blockIdx.x // tiles_down * BN
        first = cuda.blockIdx.y * steps * BK
        last = min(first + steps * BK, pixels)
        a_shared = cuda.shared.array(A_SHARED, number, ALIGNMENT)
        b_shared = cuda.shared.array(B_SHARED, number, ALIGNMENT)
        entries = cuda.shared.array(TABLE, int32, ALIGNMENT)
        for at in range(cuda.threadIdx.x, TABLE, THREADS):
            entries[at] = table[4 * n0 + at]
        cuda.syncthreads()
        sums = cuda.local.array(SUMS, number)
        for s in range(SUMS):
            sums[s] = 0
        rows = int32(min(M - m0, BM))
        shape = cuda.gridDim.z * M * plane, int32(plane), oh, ow
        image = image_step, int32(H), int32(W), int32(stride_h), int32(stride_w)
        dy_at, x_at, lane = (group * M + m0) * plane, group * group_step, cuda.threadIdx.x % BK
        if first < last:
            copy_slice(a_shared, b_shared, 0, dy, x, entries, first + lane, last, dy_at, x_at, rows, shape, image)
        held = 0
        for k in range(first, last, BK):
            wait_all()
            cuda.syncthreads()  # this slice is there, and nobody reads the other any more
            if k + BK < last:
                pixel = k + BK + lane
                copy_slice(a_shared, b_shared, 1 - held, dy, x, entries, pixel, last, dy_at, x_at, rows, shape, image)
            multiply(a_shared, held * A_SLICE, b_shared, held * B_SLICE, sums)
            held = 1 - held
        at = cuda.blockIdx.y * size + (group * M + m0) * K + n0
        store(dweight, at, K, rows, int32(min(K - n0, BN)), K % 4 == 0, sums)

    return weight_gradient
