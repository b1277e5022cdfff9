"""Padding, concatenating, and picking rows and columns. Every output pixel is gathered by one thread."""

import math

import numpy as np
from numba import cuda

from ..places import to_numpy
from .arrays import BLOCK, blocks, canonical, constant, flat, xp
from .launch import kernel, launch
from .planes import divide, launch_pixels, pixel


def pad_forward(x, amounts, value):
    """x (P, H, W) with `value` around it, amounts = (left, right, top, bottom)."""
    P, H, W = x.shape
    left, right, top, bottom = amounts
    y = xp.empty((P, top + H + bottom, left + W + right), x.dtype)
    _shifted(x, y, top, left, value)
    return y


def pad_input_grad(dy, x_shape, amounts):
    # forward: y[:, top + r, left + c] = x[:, r, c]
    left, _, top, _ = amounts
    dx = xp.empty(x_shape, dy.dtype)
    _shifted(dy, dx, -top, -left, 0.0)
    return dx


def take2d_forward(x, rows, columns):
    """y[:, p, q] = x[:, rows[p], columns[q]]"""
    y = xp.empty((x.shape[0], len(rows), len(columns)), x.dtype)
    launch_pixels(_take, len(y), y.shape[1:], y.reshape(-1), flat(x), constant(rows), constant(columns), x.shape[1:])
    return y


def take2d_input_grad(dy, x_shape, rows, columns):
    # forward: y[:, p, q] = x[:, rows[p], columns[q]], so each pixel of x gathers the dy of its copies
    dx = xp.empty(x_shape, dy.dtype)
    row_lists, column_lists = takers(rows, x_shape[1]), takers(columns, x_shape[2])
    dx_flat, dy_flat = dx.reshape(-1), flat(dy)
    launch_pixels(
        _take_grad, len(dx), dx.shape[1:], dx_flat, dy_flat, *row_lists, *column_lists, dx.shape[1], dy.shape[1:]
    )
    return dx


def concat_forward(arrays, axis):
    """The arrays one behind the other."""
    shape = list(arrays[0].shape)
    shape[axis] = sum(array.shape[axis] for array in arrays)
    y, start = xp.empty(shape, arrays[0].dtype), 0
    for array in arrays:
        _copy_slab(array, y, axis, start, into_whole=1)
        start += array.shape[axis]
    return y


def concat_backward(dy, sizes, axis):
    # forward: y = the arrays one behind the other, so dy is cut at their borders
    parts, start = [], 0
    for size in sizes:
        part = xp.empty((*dy.shape[:axis], size, *dy.shape[axis + 1 :]), dy.dtype)
        _copy_slab(part, dy, axis, start, into_whole=0)
        parts.append(part)
        start += size
    return tuple(parts)


def takers(sources, size):
    """For each of `size` places which positions were taken from it: (the positions in order, where each place begins).

    It makes a scatter of sums a gather, whose order of summation is fixed.
    """
    sources = to_numpy(sources)  # a few hundred numbers
    order = np.argsort(sources, kind="stable").astype(np.int64)
    begins = np.searchsorted(sources[order], np.arange(size + 1)).astype(np.int64)
    return constant(order), constant(begins)


def _shifted(x, y, top, left, value):
    value = y.dtype.type(value)
    launch_pixels(_shift, len(y), y.shape[1:], y.reshape(-1), flat(x), x.shape[1:], y.shape[1], top, left, value)


def _copy_slab(part, whole, axis, start, into_whole):
    """Copy between an array and its place in the concatenated one, seen as (outer, length) matrices."""
    inner = math.prod(part.shape[axis + 1 :])
    length, whole_length = part.shape[axis] * inner, whole.shape[axis] * inner
    part, whole = canonical(part), canonical(whole)  # of these the one that is written is new, so it is itself
    launch(
        _slab, math.prod(part.shape[:axis]) * blocks(length, BLOCK), BLOCK, part.reshape(-1), whole.reshape(-1),
        length, whole_length, start * inner, into_whole,
    )  # fmt: skip


@kernel
def _shift(tiles, width, y, x, x_size, height, top, left, value):
    """y[:, r, c] = x[:, r − top, c − left], `value` outside."""
    plane, row, column = pixel(tiles, width)
    if row < height:
        r, c = row - top, column - left
        inside = r >= 0 and r < x_size[0] and c >= 0 and c < x_size[1]
        y[(plane * height + row) * width + column] = x[(plane * x_size[0] + r) * x_size[1] + c] if inside else value


@kernel
def _take(tiles, width, y, x, rows, columns, x_size):
    plane, p, q = pixel(tiles, width)
    if p < rows.size:
        y[(plane * rows.size + p) * width + q] = x[(plane * x_size[0] + rows[p]) * x_size[1] + columns[q]]


@kernel
def _take_grad(tiles, width, dx, dy, rows, row_begins, columns, column_begins, height, y_size):
    plane, row, column = pixel(tiles, width)
    if row < height:
        total = dx.dtype.type(0)
        for a in range(row_begins[row], row_begins[row + 1]):
            base = (plane * y_size[0] + rows[a]) * y_size[1]
            for b in range(column_begins[column], column_begins[column + 1]):
                total += dy[base + columns[b]]
        dx[(plane * height + row) * width + column] = total


@kernel
def _slab(part, whole, length, whole_length, offset, into_whole):
    """A tile of BLOCK elements of one outer index a block."""
    outer, tile = divide(cuda.blockIdx.x, (length + BLOCK - 1) // BLOCK)
    i = tile * BLOCK + cuda.threadIdx.x
    if i < length:
        inside, outside = outer * length + i, outer * whole_length + offset + i
        if into_whole:
            whole[outside] = part[inside]
        else:
            part[inside] = whole[outside]
