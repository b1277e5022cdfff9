"""Convolution as a product whose left operand is addressed, not stored (addressed_plan.py): filters in the lanes.

    forward   y[n]ᵀ  (P, F) = columns(x[n])ᵀ (P, K) · weightᵀ (K, F)         K = (C, kh, kw), P = (oh, ow)
    dx        dx[n]ᵀ (P, C) = columns(dy[n])ᵀ (P, K) · weight (K, C)         K = (F, taps), a phase of the stride

Nothing here loads Numba as long as the machine code is in the cache: training and inference run the same kernel.
"""

from functools import lru_cache

import numpy as np

from ..settings import get_num_threads
from .addressed_plan import BACKWARD, FORWARD, LEAST, PACKED, backward_taps, forward_taps, plan
from .memory import empty
from .native import Kernel
from .processor import ADDRESSED_MR as MR
from .processor import ADDRESSED_NV, VECTOR_BYTES
from .scratch import odd_lines, scratch

SUMS = 96 << 10  # sums a task, beside the copy and a stream of filters in a core's L2
MOST = 1024  # pixels a task, of each phase
TASKS = 2  # a thread, at least
FEW = 256  # pixels that one task takes: tasks are of different filters then, and each packs its own
DEPTH = 256  # products between two stores of a sum: a panel of filters stays in L1

_convolve = Kernel("addressed_kernels", "convolve")


def forward(x, weight, bias, stride, padding, dilation, groups, out_size):
    """y = weight · columns(x) + bias"""
    y = empty((x.shape[0], weight.shape[0], *out_size), x.dtype)
    phases = forward_taps(weight.shape[2:], padding, dilation)
    convolve(x, weight.reshape(-1), FORWARD, y, groups, phases, (*out_size, *stride), bias)
    return y


def input_grad(dy, weight, x_shape, stride, padding, dilation, groups):
    # forward: y = weight @ columns(x), so dL/dx = col2im(weight.T @ dy): a convolution of dy for each phase
    dx = empty(x_shape, dy.dtype)
    phases = backward_taps(weight.shape[2:], stride, padding, dilation, x_shape[2:])
    out_size = -(-x_shape[2] // stride[0]), -(-x_shape[3] // stride[1])
    convolve(dy, weight.reshape(-1), BACKWARD, dx, groups, phases, (*out_size, 1, 1))
    return dx


def panel_columns(dtype) -> int:
    """Filters in a panel of the packed weights."""
    return ADDRESSED_NV * VECTOR_BYTES // dtype.itemsize


def pack_filters(weight, groups):
    """weight (groups·F, C, kh, kw) as (groups, panels, K, filters of a panel), flat, filled up with zeros."""
    filters, K, nr = weight.shape[0] // groups, weight[0].size, panel_columns(weight.dtype)
    panels = -(-filters // nr)
    packed = np.zeros((groups, panels * nr, K), weight.dtype)
    packed[:, :filters] = weight.reshape(groups, filters, K)
    return np.ascontiguousarray(packed.reshape(groups, panels, nr, K).swapaxes(2, 3)).reshape(-1)


def unpack_filters(packed, shape, groups):
    """The weight of this shape that `pack_filters` packed."""
    filters, K, nr = shape[0] // groups, shape[1] * shape[2] * shape[3], panel_columns(packed.dtype)
    panels = packed.reshape(groups, -1, K, nr).swapaxes(2, 3).reshape(groups, -1, K)
    return np.ascontiguousarray(panels[:, :filters]).reshape(shape)


def convolve(x, weight, form, y, groups, phases, grid, bias=None, residual=None, relu=False):
    """y = [relu](weight · columns(x) + bias [+ residual]), phase by phase of y; grid: the pixels of a phase.

    weight: flat; in the form FORWARD of shape (groups, F, C, kh, kw), BACKWARD (groups, C, F, kh, kw), PACKED as
    `pack_filters` makes it.
    """
    (N, C, H, W), F = x.shape, y.shape[1] // groups
    shape = N, groups, C // groups, F
    layout, size = _layout(phases, shape, weight.size // (C * F), grid, form, x.dtype, get_num_threads())
    _convolve(
        x.dtype,
        x.reshape(-1),
        (H, W),
        weight,
        weight if bias is None else bias,
        (y if residual is None else residual).reshape(-1),
        (bias is not None, residual is not None, relu),
        y.reshape(-1),
        y.shape[1:],
        shape,
        grid,
        *layout,
        scratch(x.dtype, size),
    )


@lru_cache(maxsize=1024)
def _layout(phases, shape, T, grid, form, dtype, threads):
    """What the kernel needs to know of a layer, and the size of its working memory."""
    N, groups, C, F = shape
    nr, lanes, count, tasks = (
        panel_columns(dtype),
        VECTOR_BYTES // dtype.itemsize,
        len(phases.first) - 1,
        TASKS * threads,
    )
    pixels, panels = N * grid[0] * grid[1], -(-F // nr)
    least = min(LEAST, 4 * LEAST // count)  # with more than 4 phases fewer are enough
    if pixels > FEW or panels < tasks:
        pixels = min(MOST, max(MR, least, min(SUMS // (F * count), pixels // (2 * tasks))))
    cut = plan(N, C, phases, grid, pixels, DEPTH, dtype.itemsize, threads)
    blocks, block = cut.blocks, cut.places.size
    chunk = -(-panels // min(panels, -(-tasks // (groups * blocks))))  # panels a task
    row = odd_lines(min(F, chunk * nr), lanes)
    early = form != PACKED and blocks > 1
    filters_size = groups * panels * C * phases.taps.size * nr if early else 0
    panel_first = count * block * row + cut.copy_size + lanes
    spare = panel_first + cut.channels * phases.taps.size * nr
    own = spare + T * nr + lanes
    filters = (form, early, T), phases.taps, phases.first, phases.steps
    areas = filters_size, count * block * row, panel_first, spare, own
    layout = *filters, (nr, chunk, row, *cut[:5]), cut.copy, cut.steps, cut.places, areas
    return layout, filters_size + threads * own
