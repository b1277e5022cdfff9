"""Convolution as an implicit GEMM: the columns are made block by block in cache, just before they are multiplied.

    forward   y[n]  = weight (F, K) · columns(x[n]) (K, P)          K = (C, kh, kw), P = (oh, ow)
    dx        dx[n] = weightᵀ (C, F·taps) · columns(dy[n])          one such product a phase of the stride

Padding is read as zeros. Work is cut by shapes alone, so the result does not depend on the number of threads.
"""

from functools import lru_cache

import numba
import numpy as np
from numba import prange

from ..settings import get_num_threads
from .cache import kernel
from .im2col import pack_columns
from .moves import spread_run
from .scratch import odd_lines, scratch
from .simd import MR, NV, VECTOR_BYTES, tile_product
from .threads import launch

PANELS = 4  # tiles side by side in a block of columns, which share a panel of the weights in L1
# Columns held at a time: they stay in L3, and each is packed once for all filters (512 channels at 7×7, one image:
# 0.7 ms instead of the 4.1 ms of tasks that each packed their own).
HELD_BYTES = 4 << 20
CHUNK = 32  # rows of columns a packing task
KC_BYTES = 400 << 10  # of a block of columns multiplied at a time, in a core's L2


@lru_cache(maxsize=256)
def kernel_taps(kernel_size, padding, dilation):
    """Where each tap of the kernel reads, relative to stride times the output position: (rows, columns)."""
    i, j = np.indices(kernel_size, dtype=np.int64).reshape(2, -1)
    return i * dilation[0] - padding[0], j * dilation[1] - padding[2]


def forward(x, weight, bias, stride, padding, dilation, groups, out_size):
    """y = weight · columns(x) + bias"""
    y = np.empty((x.shape[0], weight.shape[0], *out_size), x.dtype)
    taps = kernel_taps(weight.shape[2:], padding, dilation)
    product(x, weight.reshape(-1), bias, y, groups, taps, (*out_size, *stride), (0, 0, 1, 1))
    return y


def input_grad(dy, weight, x_shape, stride, padding, dilation, groups):
    # forward: y[oy] = Σ_i weight[i] · x[oy·stride + i·dilation − top]
    # so dx[h] = Σ_i weight[i] · dy[(h + top − i·dilation) / stride], over the taps i that divide without rest
    H, W = x_shape[2:]
    dx = np.empty(x_shape, dy.dtype)
    steps = phases(weight.shape[2:], stride, padding, dilation)
    if any(chosen.size == 0 for _, chosen, _ in steps):  # a stride above the kernel: some pixels are never read
        launch(_clear, dx.reshape(-1))
    for (h, w), chosen, taps in steps:
        out_size = -(-(H - h) // stride[0]), -(-(W - w) // stride[1])
        if min(out_size) > 0 and chosen.size:
            filters = np.empty(weight.size // (weight.shape[2] * weight.shape[3]) * chosen.size, dy.dtype)
            launch(_filters_by_channel, weight.reshape(weight.shape[0], weight.shape[1], -1), chosen, groups, filters)
            product(dy, filters, None, dx, groups, taps, (*out_size, 1, 1), (h, w, *stride))
    return dx


@kernel(parallel=True)
def _clear(x):
    for chunk in prange((x.size + 16383) // 16384):
        x[chunk * 16384 : (chunk + 1) * 16384] = 0


@lru_cache(maxsize=256)
def phases(kernel_size, stride, padding, dilation):
    """Pixels (h, w), (h + stride_h, w), … meet the same taps: the phases (h, w), these taps and what they read."""
    found = []
    for h in range(stride[0]):
        rows = _of_phase(h + padding[0], kernel_size[0], stride[0], dilation[0])
        for w in range(stride[1]):
            columns = _of_phase(w + padding[2], kernel_size[1], stride[1], dilation[1])
            pairs = [(i * kernel_size[1] + j, y, x) for i, y in rows for j, x in columns]
            chosen, *taps = np.ascontiguousarray(np.array(pairs, np.int64).reshape(-1, 3).T)
            found.append(((h, w), chosen, tuple(taps)))
    return found


def _of_phase(position, size, stride, dilation):
    """The taps i with position − i·dilation divisible by stride, and the quotients."""
    taps = [(i, position - i * dilation) for i in range(size)]
    return [(i, rest // stride) for i, rest in taps if rest % stride == 0]


@kernel(parallel=True)
def _filters_by_channel(weight, chosen, groups, out):
    """out (groups, C, F, taps) = weight (groups·F, C, kh·kw)[…, chosen]."""
    F, C, _ = weight.shape
    filters, taps = F // groups, chosen.size
    for chunk in prange(groups * ((C + 7) // 8)):
        g, c0 = chunk % groups, chunk // groups * 8
        for f in range(filters):
            for c in range(c0, min(C, c0 + 8)):
                line = out[((g * C + c) * filters + f) * taps :]
                for t in range(taps):
                    line[t] = weight[g * filters + f, c, chosen[t]]


def product(x, weight, bias, y, groups, taps, grid, place, residual=None, relu=False):
    """y[n, f, place] = weight (groups, F, K) · columns(x) (+ bias[f]); place = (first row, first column, steps).

    Where place is the whole of y: + residual, of the shape of y, and then the ReLU.
    """
    (N, C, H, W), F = x.shape, y.shape[1]
    lanes = VECTOR_BYTES // x.itemsize
    nr = NV * lanes
    K, pixels, filters = C // groups * taps[0].size, N * grid[0] * grid[1], F // groups
    block = min(PANELS * nr, pixels)
    row = odd_lines(block + lanes - 1, lanes)
    blocks = groups * -(-pixels // block)
    held = max(1, min(blocks, HELD_BYTES // (K * row * x.itemsize)))
    rows = next((n for n in (64, 32) if held * -(-filters // n) >= 16), 16)  # filters a task
    kc = max(64, KC_BYTES // (row * x.itemsize))
    work = scratch(x.dtype, held * K * row + get_num_threads() * MR * nr)
    launch(
        _product,
        x.reshape(-1),
        (C, H, W),
        weight,
        *(np.empty(0, x.dtype) if array is None else array.reshape(-1) for array in (bias, residual)),
        relu,
        y.reshape(-1),
        y.shape[1:],
        (groups, C // groups, filters, pixels),
        *taps,
        grid,
        place,
        (block, row, held, rows, kc, nr),
        work,
    )


@kernel(parallel=True)
def _product(x, source, weight, bias, residual, relu, y, target, sizes, taps_y, taps_x, grid, place, plan, work):
    """Packs and multiplies blocks of columns. The last may be small: neighbouring tasks are of different blocks."""
    groups, channels, filters, pixels = sizes
    block, row, held, rows, _, nr = plan
    K = channels * taps_y.size
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
                    _multiply(
                        weight, bias, residual, relu, y, target, g * filters,
                        (part * rows, min(filters, part * rows + rows)), K, q, min(block, pixels - q), grid, place,
                        plan, work, b * K * row, held * K * row + numba.get_thread_id() * MR * nr,
                    )  # fmt: skip


@kernel
def _multiply(
    weight, bias, residual, relu, y, target, f_first, f_range, K, q_first, q_count, grid, place, plan, work, columns,
    spare,
):  # fmt: skip
    """A block of columns times some rows of the weights, added up over blocks of K."""
    _, row, _, _, kc, nr = plan
    F, P, plane = target[0], grid[0] * grid[1], target[1] * target[2]
    whole = place == (0, 0, 1, 1)
    for k in range(0, K, kc):
        k_count = min(kc, K - k)
        for f in range(f_first + f_range[0], f_first + f_range[1], MR):
            f_count = min(MR, f_first + f_range[1] - f)
            for j in range(0, q_count, nr):
                count = min(nr, q_count - j)
                n, p = (q_first + j) // P, (q_first + j) % P
                y_at, columns_at = (n * F + f) * plane, columns + k * row + j
                if whole and p + count <= P:  # (f, K) @ (K, p) -> (f, p), straight into y
                    tile_product(
                        k_count, weight, f * K + k, K, 1, work, columns_at, row,
                        y, y_at + p, plane, f_count, count, k > 0,
                    )  # fmt: skip
                else:  # the tile spans images, or its pixels do not lie side by side
                    tile_product(
                        k_count, weight, f * K + k, K, 1, work, columns_at, row,
                        work, spare, nr, f_count, count, False,
                    )  # fmt: skip
                    _scatter(work, spare, nr, f_count, count, y, y_at, target, grid, place, p, k > 0)
    if bias.size or residual.size or relu:
        for f in range(f_first + f_range[0], f_first + f_range[1]):
            _finish(y, bias, residual, relu, f, q_first, q_count, F, P)


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
            spread_run(y, line, step_x, run, tile, tile_at + i * tile_row + j, accumulate)
            j += run
            oy, ox = oy + 1, 0
            if oy == grid[0]:
                oy, at = 0, at + F * H * W


@kernel
def _finish(y, bias, residual, relu, f, q_first, q_count, F, P):
    """y[n, f, p] = [relu](y + bias[f] [+ residual]) for the pixels q = (n, p) of a block."""
    q, end, zero = q_first, q_first + q_count, y.dtype.type(0)
    while q < end:
        n, p = q // P, q % P
        run = min(end - q, P - p)
        at = (n * F + f) * P + p
        line = y[at : at + run]
        if bias.size:
            value = bias[f]
            for t in range(run):
                line[t] += value
        if residual.size:
            other = residual[at : at + run]
            for t in range(run):
                line[t] += other[t]
        if relu:
            for t in range(run):
                line[t] = zero if line[t] <= zero else line[t]
        q += run
