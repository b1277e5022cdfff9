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
from .memory import empty
from .moves import spread_run
from .scratch import odd_lines, scratch
from .simd import MR, NV, VECTOR_BYTES, tile_product
from .threads import launch

PANELS = 4  # tiles side by side in a block of columns: rows long enough to be packed in few runs
KC_BYTES = 20 << 10  # of a panel of columns multiplied at a time: it stays in L1 while the filters stream past
ROWS = 512  # most filters a task: its sums stay in L2
# A task that packs its own block of columns multiplies it by all filters. With fewer blocks than this, the filters are
# cut instead, and the columns packed first, once for all: for HELD_BYTES of them, which stay in L3 (512 channels at
# 7×7, one image: 0.7 ms instead of the 4.1 ms of tasks that each packed their own).
ALONE_BLOCKS = 8
HELD_BYTES = 4 << 20
CHUNK = 32  # rows of columns a packing task


@lru_cache(maxsize=256)
def kernel_taps(kernel_size, padding, dilation):
    """Where each tap of the kernel reads, relative to stride times the output position: (rows, columns)."""
    i, j = np.indices(kernel_size, dtype=np.int64).reshape(2, -1)
    return i * dilation[0] - padding[0], j * dilation[1] - padding[2]


def forward(x, weight, bias, stride, padding, dilation, groups, out_size):
    """y = weight · columns(x) + bias"""
    y = empty((x.shape[0], weight.shape[0], *out_size), x.dtype)
    taps = kernel_taps(weight.shape[2:], padding, dilation)
    product(x, weight.reshape(-1), bias, y, groups, taps, (*out_size, *stride), (0, 0, 1, 1))
    return y


def input_grad(dy, weight, x_shape, stride, padding, dilation, groups):
    # forward: y[oy] = Σ_i weight[i] · x[oy·stride + i·dilation − top]
    # so dx[h] = Σ_i weight[i] · dy[(h + top − i·dilation) / stride], over the taps i that divide without rest
    H, W = x_shape[2:]
    dx = empty(x_shape, dy.dtype)
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


def product(x, weight, bias, y, groups, taps, grid, place):
    """y[n, f, place] = weight (groups, F, K) · columns(x) (+ bias[f]); place = (first row, first column, steps)."""
    (N, C, H, W), F = x.shape, y.shape[1]
    lanes = VECTOR_BYTES // x.itemsize
    nr = NV * lanes
    K, pixels, filters = C // groups * taps[0].size, N * grid[0] * grid[1], F // groups
    panels = -(-pixels // nr)
    blocks = -(-panels // PANELS)
    alone = groups * blocks >= ALONE_BLOCKS
    if alone:
        blocks = min(panels, -(-blocks // 8) * 8)  # of nearly one size, as many for each of up to 8 threads
    row = odd_lines(min(-(-panels // blocks) * nr, pixels) + lanes - 1, lanes)
    held = groups * blocks if alone else max(1, min(groups * blocks, HELD_BYTES // (K * row * x.itemsize)))
    rows = ROWS if alone else next((n for n in (64, 32) if held * -(-filters // n) >= 16), 16)  # filters a task
    kc = min(K, KC_BYTES // (nr * x.itemsize))
    columns, sums = (kc * row, 0) if alone else (0, held * K * row), min(rows, filters) * row
    work = scratch(x.dtype, columns[1] + get_num_threads() * (columns[0] + sums))
    launch(
        _product,
        x.reshape(-1),
        (C, H, W),
        weight,
        np.empty(0, x.dtype) if bias is None else bias,
        y.reshape(-1),
        y.shape[1:],
        (groups, C // groups, filters, pixels),
        *taps,
        grid,
        place,
        (blocks, panels, row, held, rows, kc, nr),
        (alone, columns[1], columns[0], columns[0] + sums),
        work,
    )


@kernel(parallel=True)
def _product(x, source, weight, bias, y, target, sizes, taps_y, taps_x, grid, place, plan, own, work):
    """Blocks of columns times blocks of filters; unless each task packs its own, the columns are packed first."""
    groups, channels, filters, pixels = sizes
    blocks, panels, row, held, rows, kc, nr = plan
    alone, first, columns_size, size = own
    K = channels * taps_y.size
    for b0 in range(0, groups * blocks, held):
        b_count = min(held, groups * blocks - b0)
        for phase in range(2):
            packing = 0 if alone else b_count * ((K + CHUNK - 1) // CHUNK)
            tasks = (packing, b_count * ((filters + rows - 1) // rows))[phase]
            for index in prange(tasks):
                task = np.int64(index)
                part, b = task // b_count, task % b_count
                g, block = (b0 + b) // blocks, (b0 + b) % blocks
                q, end = block * panels // blocks * nr, min(pixels, (block + 1) * panels // blocks * nr)
                if phase == 0:
                    k = part * CHUNK
                    pack_columns(
                        x, source, g * channels, taps_y, taps_x, grid, k, min(CHUNK, K - k), q, end - q,
                        work, (b * K + k) * row, row,
                    )  # fmt: skip
                else:
                    f, columns = part * rows, first + numba.get_thread_id() * size
                    sums, f_count = columns + columns_size, min(rows, filters - part * rows)
                    for k in range(0, K, kc):
                        k_count, at = min(kc, K - k), (b * K + k) * row
                        if alone:
                            at = columns
                            pack_columns(
                                x, source, g * channels, taps_y, taps_x, grid, k, k_count, q, end - q, work, at, row
                            )
                        _multiply(
                            weight, (g * filters + f) * K + k, K, f_count, k_count, end - q, row, nr,
                            work, at, sums, k > 0,
                        )  # fmt: skip
                    for i in range(f_count):
                        _finish(work, sums + i * row, bias, y, target, g * filters + f + i, q, end, grid, place)


@kernel
def _multiply(weight, weight_at, K, f_count, k_count, q_count, row, nr, work, columns, sums, accumulate):
    """sums (f, q) = or += weight (f, k) · columns (k, q): a panel of columns after the other, past all filters."""
    for j in range(0, q_count, nr):
        for f in range(0, f_count, MR):
            tile_product(
                k_count, weight, weight_at + f * K, K, 1, work, columns + j, row, work, sums + f * row + j, row,
                min(MR, f_count - f), min(nr, q_count - j), accumulate,
            )  # fmt: skip


@kernel
def _finish(sums, at, bias, y, target, f, q, end, grid, place):
    """y[n, f, p] = sums + bias[f] for the pixels q = (n, p) of a block."""
    F, H, W = target
    oh, ow = grid[:2]
    first_y, first_x, step_y, step_x = place
    if bias.size:
        value, line = bias[f], sums[at : at + end - q]
        for t in range(line.size):
            line[t] += value
    while q < end:
        n, p = q // (oh * ow), q % (oh * ow)
        if place == (0, 0, 1, 1):
            run = min(end - q, oh * ow - p)
            to = (n * F + f) * oh * ow + p
        else:
            oy, ox = p // ow, p % ow
            run = min(end - q, ow - ox)
            to = ((n * F + f) * H + first_y + oy * step_y) * W + first_x + ox * step_x
        spread_run(y, to, step_x, run, sums, at, False)
        q, at = q + run, at + run
