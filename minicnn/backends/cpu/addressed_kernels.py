"""The kernel of addressed.py, and the copy of a block, which the weight gradient makes too."""

import numba
import numpy as np
from numba import prange

from .addressed_plan import FORWARD, PACKED
from .addressed_tile import addressed_product
from .cache import kernel
from .moves import copy_run, transpose
from .processor import ADDRESSED_MR as MR


@kernel(parallel=True, alone=True)
def convolve(
    x, source, weight, bias, residual, finish, y, target, sizes, grid, form, taps, first, phase_steps, plan, copy,
    steps, places, areas, work,
):  # fmt: skip
    """Packs the filters, unless they are or each task packs its own; then a block of pixels by some panels a task."""
    N, groups, channels, filters = sizes
    nr, chunk, row, images, rows, columns, blocks, at_once = plan
    filters_size, copy_first, panel_first, spare, own_size = areas
    K, panels = channels * taps.size, (filters + nr - 1) // nr
    chunks = (panels + chunk - 1) // chunk
    packing, products = groups * panels if form[1] else 0, groups * blocks * chunks
    for phase in range(2):
        tasks = (packing, products)[phase]
        for index in prange(tasks):
            task, own = np.int64(index), filters_size + numba.get_thread_id() * own_size
            if phase == 0:
                for c in range(0, channels, at_once):
                    _pack(
                        weight, form, task // panels, task % panels * nr, c, min(at_once, channels - c), sizes, taps,
                        first, work, (task * K + c * taps.size) * nr, nr, own,
                    )  # fmt: skip
            else:
                g, block, panel = task // chunks // blocks, task // chunks % blocks, task % chunks * chunk
                pixels = block_pixels(block, N, grid, images, rows, columns)
                f_first, f_last = panel * nr, min((panel + chunk) * nr, filters)
                for c in range(0, channels, at_once):
                    c_count, copied = min(at_once, channels - c), own + copy_first
                    copy_block(x, source, groups * channels, g * channels + c, c_count, pixels, copy, work, copied)
                    for f in range(f_first, f_last, nr):
                        at = ((g * panels + f // nr) * K + c * taps.size) * nr
                        if form[0] != PACKED and not form[1]:
                            at = own + panel_first
                            _pack(weight, form, g, f, c, c_count, sizes, taps, first, work, at, nr, own + spare)
                        _multiply(
                            work, copied, places, pixels[1] * pixels[3] * pixels[5], steps, first, phase_steps[1],
                            c_count, at_once, weight if form[0] == PACKED else work, at, nr, own + f - f_first, row,
                            min(nr, f_last - f), c > 0,
                        )  # fmt: skip
                _store(
                    work, own, row, places.size, bias, residual, finish, y, target, g * filters + f_first,
                    f_last - f_first, pixels, first, phase_steps,
                )  # fmt: skip


@kernel
def no_taps(first, h, step_x):
    """Whether the rows h, h + stride, … of dx are zeros: the stride is larger than the kernel."""
    return first[h * step_x] == first[(h + 1) * step_x]


@kernel
def block_pixels(block, N, grid, images, rows, columns):
    """(first image, images, first row, rows, first column, columns) of a block."""
    down, across = (grid[0] + rows - 1) // rows, (grid[1] + columns - 1) // columns
    n, oy, ox = block // across // down * images, block // across % down * rows, block % across * columns
    return n, min(images, N - n), oy, min(rows, grid[0] - oy), ox, min(columns, grid[1] - ox)


@kernel
def _pack(weight, form, g, f, c_first, c_count, sizes, taps, first, out, out_at, nr, spare):
    """out = a panel of filters from f on for some channels: phase by phase, (channel, tap, filter)."""
    _, _, channels, filters = sizes
    T, f_count = form[2], min(nr, filters - f)
    if form[0] == FORWARD:
        source = ((g * filters + f) * channels + c_first) * T
        transpose(out, out_at, nr, weight, source, channels * T, f_count, c_count * T)
        return
    for c in range(c_count):
        source = ((g * channels + c_first + c) * filters + f) * T
        if T == 1:
            copy_run(out, out_at + c * nr, nr, weight, source, 1, 0, f_count)
            continue
        if first.size == 2 and first[1] == T:  # one phase has them all, in their order
            transpose(out, out_at + c * T * nr, nr, weight, source, T, f_count, T)
            continue
        transpose(out, spare, nr, weight, source, T, f_count, T)
        for p in range(first.size - 1):
            to = out_at + (first[p] * c_count + c * (first[p + 1] - first[p])) * nr
            for t in range(first[p], first[p + 1]):
                copy_run(out, to + (t - first[p]) * nr, nr, out, spare + taps[t] * nr, 1, 0, nr)


@kernel
def copy_block(x, source, C, c_first, c_count, pixels, copy, out, out_at):
    """out[n, c] = the rows of x that a block reads, 0 where they are padding."""
    H, W = source
    n_first, n_count, oy, oy_count, ox, _ = pixels
    first_y, first_x, move_y, move_x, taken_y, taken_x, local_y, span_y, width, channel_step, image_step = copy
    left = first_x + ox * move_x  # columns first ≤ i < last of the copy lie inside of x
    first = min(width, max(0, (taken_x - 1 - left) // taken_x))
    last = max(0, min(width, (W - left + taken_x - 1) // taken_x))
    top, count = oy * move_y + first_y, (oy_count - 1) * local_y + span_y + 1
    for n in range(n_count):
        for c in range(c_count):
            plane, to = (n_first + n) * C + c_first + c, out_at + n * image_step + c * channel_step
            for i in range(count):
                row = top + i * taken_y
                inside = 0 <= row < H
                copy_run(
                    out, to + i * width, width, x, (plane * H + row) * W + left, taken_x,
                    first if inside else 0, last if inside else 0,
                )  # fmt: skip


@kernel
def _multiply(
    work, copy, places, q_count, steps, first, step_x, c_count, at_once, filters, filters_at, nr, sums, row, f_count,
    add,
):  # fmt: skip
    """sums (q, f) = or += columns (q, k) · filters (k, f) for a panel of filters, phase by phase."""
    for p in range(first.size - 1):
        if no_taps(first, p // step_x, step_x):
            continue
        k_count, at = (first[p + 1] - first[p]) * c_count, filters_at + first[p] * c_count * nr
        to = sums + (p // step_x * places.size * step_x + p % step_x) * row
        for q in range(0, q_count, MR):
            addressed_product(
                k_count, work, copy, places, q, steps, first[p] * at_once, filters, at, nr,
                work, to + q * step_x * row, step_x * row, min(MR, q_count - q), f_count, add,
            )  # fmt: skip


@kernel
def _store(
    work, sums, row, block, bias, residual, finish, y, target, f_first, f_count, pixels, first, phase_steps
):  # fmt: skip
    """y = [relu](sums (q, f) + bias [+ residual]): all rows at once where they follow one another in y."""
    F, H, W = target
    n_first, n_count, oy, oy_count, ox, ox_count = pixels
    step_y, step_x = phase_steps
    at_once = oy_count if step_y == 1 and step_x * ox_count == W else 1
    count = at_once * min(step_x * ox_count, W - step_x * ox)
    for n in range(n_count):
        for r in range(0, oy_count, at_once):
            for h in range(min(step_y, H - (oy + r) * step_y)):
                to = (((n_first + n) * F + f_first) * H + (oy + r) * step_y + h) * W + step_x * ox
                if no_taps(first, h, step_x):
                    for f in range(f_count):
                        y[to + f * H * W : to + f * H * W + count] = 0
                    continue
                from_ = sums + (h * block + (n * oy_count + r) * ox_count) * step_x * row
                transpose(y, to, H * W, work, from_, row, count, f_count)
                if finish[0] or finish[1] or finish[2]:
                    for f in range(f_count):
                        added = bias[f_first + f] if finish[0] else y.dtype.type(0)
                        _finish(y, to + f * H * W, count, added, residual, finish)


@kernel
def _finish(y, at, count, bias, residual, finish):
    """A run of y += bias [+ residual], then ReLU."""
    line, other, zero = y[at : at + count], residual[at : at + count], y.dtype.type(0)
    if finish[1]:
        for t in range(count):
            line[t] += bias + other[t]
    elif finish[0]:
        for t in range(count):
            line[t] += bias
    if finish[2]:
        for t in range(count):
            line[t] = zero if line[t] <= zero else line[t]
