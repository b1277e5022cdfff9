"""The weight gradient with addressed columns (addressed_plan.py): filters in the lanes, sums over the pixels.

    dweightᵀ (K, F) = Σ_n columns(x[n]) (K, P) · dy[n]ᵀ (P, F)          K = (C, kh, kw), P = (oh, ow)

Only dy is transposed, once; x is copied a few channels at a time, with the padding, by the task that reads it.
"""

from functools import lru_cache

import numba
import numpy as np
from numba import prange

from ..settings import get_num_threads
from .addressed import panel_columns
from .addressed_kernels import block_pixels, copy_block
from .addressed_plan import forward_taps, plan
from .addressed_tile import addressed_product
from .cache import kernel
from .memory import empty
from .moves import transpose
from .processor import ADDRESSED_MR as MR
from .processor import VECTOR_BYTES
from .scratch import odd_lines, scratch
from .threads import launch

PIXELS = 256  # a block: a panel of dyᵀ stays in L1
DEPTH = 72  # rows of dweightᵀ a task, at most: their sums stay in L2
HELD_BYTES = 6 << 20  # of dyᵀ at a time: it stays in L3
TASKS = 8  # with fewer the pixels are cut too, and their sums added at the end


def weight_grad(dy, x, weight_shape, stride, padding, dilation, groups):
    # forward: y = weight @ columns(x), so dL/dweight = dy @ columns(x).T, summed over the images
    (N, F, oh, ow), (C, H, W) = dy.shape, x.shape[1:]
    phases, grid = forward_taps(weight_shape[2:], padding, dilation), (oh, ow, *stride)
    threads = get_num_threads()
    layout, size = _layout(phases, (N, groups, C // groups, F // groups), grid, x.dtype, threads)
    dweight = empty(weight_shape, dy.dtype)
    launch(
        _weight_grad, dy.reshape(-1), x.reshape(-1), (H, W), dweight.reshape(-1), grid, *layout, scratch(x.dtype, size)
    )
    return dweight


@lru_cache(maxsize=1024)
def _layout(phases, shape, grid, dtype, threads):
    """What the kernel needs to know of a layer, and the size of its working memory."""
    N, _, channels, filters = shape
    nr, lanes = panel_columns(dtype), VECTOR_BYTES // dtype.itemsize
    cut = plan(N, channels, phases, grid, PIXELS, DEPTH, dtype.itemsize, 2)  # whatever the threads: the same sums
    K, block = channels * phases.taps.size, cut.places.size
    blocks, chunks = cut.blocks, -(-channels // cut.channels)
    dy_size, row = -(-filters // nr) * nr * block, odd_lines(filters, lanes)
    held = max(1, min(blocks, HELD_BYTES // (dy_size * dtype.itemsize)))
    parts = min(held, -(-TASKS // chunks))
    sums_first, own_first = held * dy_size, held * dy_size + parts * K * row
    own = cut.copy_size + lanes
    sizes, areas = (*shape, K, phases.taps.size), (dy_size, sums_first, own_first, own)
    layout = sizes, (nr, row, *cut[:5], held, parts), cut.copy, cut.steps, cut.places, areas
    return layout, own_first + threads * own


@kernel(parallel=True)
def _weight_grad(dy, x, source, dweight, grid, sizes, plan, copy, steps, places, areas, work):
    """Transposes dy for some blocks of pixels and multiplies them, in turn; adds the parts up after the last."""
    N, groups, channels, filters, K, taps = sizes
    nr, row, images, rows, columns, blocks, at_once, held, parts = plan
    dy_size, sums_first, own_first, own_size = areas
    panels, chunks = (filters + nr - 1) // nr, (channels + at_once - 1) // at_once
    for g in range(groups):
        for b0 in range(0, blocks, held):
            b_count = min(held, blocks - b0)
            finish = (filters + 15) // 16 if b0 + held >= blocks else 0
            for phase in range(3):
                tasks = (b_count * panels, parts * chunks, finish)[phase]
                for index in prange(tasks):
                    task = np.int64(index)
                    if phase == 0:
                        b, f = task // panels, task % panels * nr
                        pixels = block_pixels(b0 + b, N, grid, images, rows, columns)
                        _transpose_dy(
                            dy, groups * filters, g * filters + f, min(nr, filters - f), pixels, grid, work,
                            b * dy_size + f * places.size, nr,
                        )  # fmt: skip
                    elif phase == 1:
                        part, c = task // chunks, task % chunks * at_once
                        c_count, own = min(at_once, channels - c), own_first + numba.get_thread_id() * own_size
                        sums = sums_first + (part * K + c * taps) * row
                        for b in range(b_count * part // parts, b_count * (part + 1) // parts):
                            pixels = block_pixels(b0 + b, N, grid, images, rows, columns)
                            copy_block(x, source, groups * channels, g * channels + c, c_count, pixels, copy, work, own)
                            _multiply(
                                work, own, steps, c_count * taps, places, pixels[1] * pixels[3] * pixels[5],
                                b * dy_size, nr, sums, row, filters, b0 > 0 or b > b_count * part // parts,
                            )  # fmt: skip
                    else:
                        _add_parts(task * 16, K, g, filters, parts, sums_first, row, work, dweight)


@kernel
def _transpose_dy(dy, F, f, f_count, pixels, grid, out, out_at, nr):
    """out (q, nr) = a panel of dyᵀ"""
    n, n_count, oy, oy_count, ox, ox_count = pixels
    P, count = grid[0] * grid[1], oy_count * ox_count
    for i in range(n_count):
        at = ((n + i) * F + f) * P + oy * grid[1] + ox
        transpose(out, out_at + i * count * nr, nr, dy, at, P, f_count, count)


@kernel
def _multiply(work, copy, steps, k_count, places, q_count, dy_at, nr, sums, row, filters, add):
    """sums (k, f) = or += columns (k, q) · dyᵀ (q, f): a panel of filters after the other."""
    for f in range(0, filters, nr):
        for k in range(0, k_count, MR):
            addressed_product(
                q_count, work, copy, steps, k, places, 0, work, dy_at + f * places.size, nr,
                work, sums + k * row + f, row, min(MR, k_count - k), min(nr, filters - f), add,
            )  # fmt: skip


@kernel
def _add_parts(f, K, g, filters, parts, sums, row, work, dweight):
    """Adds the parts in order and transposes the sums of 16 filters from f into dweight."""
    f_count = min(16, filters - f)
    sums += f
    for part in range(1, parts):
        for k in range(K):
            total = work[sums + k * row : sums + k * row + f_count]
            more = work[sums + (part * K + k) * row : sums + (part * K + k) * row + f_count]
            for i in range(f_count):
                total[i] += more[i]
    transpose(dweight, (g * filters + f) * K, K, work, sums, row, K, f_count)
