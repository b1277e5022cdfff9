"""Softmax and its logarithm along one axis.

x is seen as (outer, C, inner), the axis in the middle. A task takes a tile of up to TILE positions with all their C
values into a buffer (C, TILE), so that the inner loop runs over positions, whole vectors at a time, whichever axis it
is. Sums are in float64: in float32 a thousand terms one after the other would lose two digits.
"""

import math

import numpy as np
from numba import prange

from .arrays import canonical
from .cache import kernel
from .elementary import exp
from .memory import empty_like
from .threads import launch

TILE = 64


def softmax_forward(x, axis):
    """y = exp(x − m) / Σ exp(x − m), m = max x"""
    return _forward(x, axis, False)


def softmax_backward(dy, x, axis):
    # forward: y = softmax(x), and dy_i/dx_j = y_i · ([i = j] − y_j)
    return _backward(dy, x, axis, False)


def log_softmax_forward(x, axis):
    """y = (x − m) − log Σ exp(x − m), m = max x"""
    return _forward(x, axis, True)


def log_softmax_backward(dy, x, axis):
    # forward: y = log softmax(x), and dy_i/dx_j = [i = j] − softmax(x)_j
    return _backward(dy, x, axis, True)


def _forward(x, axis, log):
    x = canonical(x)
    y = empty_like(x)
    launch(_softmax_forward, x.reshape(-1), y.reshape(-1), *around(x.shape, axis), log)
    return y


def _backward(dy, x, axis, log):
    dy, x = canonical(dy), canonical(x)
    dx = empty_like(x)
    launch(_softmax_backward, dy.reshape(-1), x.reshape(-1), dx.reshape(-1), *around(x.shape, axis), log)
    return dx


def around(shape, axis):
    """(outer, C, inner): the sizes before, along and after the axis."""
    return math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :])


@kernel(parallel=True)
def _softmax_forward(x, y, outer, C, inner, log):
    for task in prange(tiles(outer, inner)):
        _, first, count, stride_c, stride_p = tile_at(task, outer, C, inner)
        tile, total = np.empty((C, TILE), x.dtype), np.empty(TILE)
        gather(x, first, count, stride_c, stride_p, tile)
        exponentials(tile, count, total, not log)
        factor = np.empty(TILE, x.dtype)
        for p in range(count):
            factor[p] = math.log(total[p]) if log else 1.0 / total[p]
        for c in range(C):
            for p in range(count):
                tile[c, p] = tile[c, p] - factor[p] if log else tile[c, p] * factor[p]
        scatter(tile, first, count, stride_c, stride_p, y)


@kernel(parallel=True)
def _softmax_backward(dy, x, dx, outer, C, inner, log):
    for task in prange(tiles(outer, inner)):
        _, first, count, stride_c, stride_p = tile_at(task, outer, C, inner)
        tile, dtile = np.empty((C, TILE), x.dtype), np.empty((C, TILE), x.dtype)
        total, dot = np.empty(TILE), np.zeros(TILE)
        gather(x, first, count, stride_c, stride_p, tile)
        gather(dy, first, count, stride_c, stride_p, dtile)
        exponentials(tile, count, total, True)
        factor, correction = np.empty(TILE, x.dtype), np.empty(TILE, x.dtype)
        for p in range(count):
            factor[p] = 1.0 / total[p]
        for c in range(C):
            for p in range(count):
                tile[c, p] *= factor[p]  # y = softmax(x)
                dot[p] += np.float64(dtile[c, p]) if log else np.float64(dtile[c, p]) * np.float64(tile[c, p])
        for p in range(count):
            correction[p] = dot[p]
        for c in range(C):
            for p in range(count):
                if log:
                    tile[c, p] = dtile[c, p] - tile[c, p] * correction[p]
                else:
                    tile[c, p] = tile[c, p] * (dtile[c, p] - correction[p])
        scatter(tile, first, count, stride_c, stride_p, dx)


# ---- tiles; the losses use them too ----


@kernel
def tiles(outer, inner):
    """How many tiles there are: positions are rows when inner is 1, else each row of `inner` is cut on its own."""
    return (outer + TILE - 1) // TILE if inner == 1 else outer * ((inner + TILE - 1) // TILE)


@kernel
def tile_at(task, outer, C, inner):
    """(position, first, count, stride_c, stride_p) of a tile that begins at this position and holds `count` of them.

    Value c of its p-th position is the element first + c · stride_c + p · stride_p of the flat array.
    """
    if inner == 1:
        position = task * TILE
        return position, position * C, min(TILE, outer - position), 1, C
    a_row = (inner + TILE - 1) // TILE
    row, p = task // a_row, task % a_row * TILE
    return row * inner + p, row * C * inner + p, min(TILE, inner - p), inner, 1


@kernel
def gather(x, first, count, stride_c, stride_p, tile):
    """Copy a tile of the flat x into the buffer (C, TILE); one of the strides is 1."""
    if stride_p == 1:
        for c in range(tile.shape[0]):
            line = x[first + c * stride_c : first + c * stride_c + count]
            for p in range(line.size):
                tile[c, p] = line[p]
    else:
        for p in range(count):
            line = x[first + p * stride_p : first + p * stride_p + tile.shape[0]]
            for c in range(line.size):
                tile[c, p] = line[c]


@kernel
def scatter(tile, first, count, stride_c, stride_p, y):
    """Copy the buffer back to where `gather` took it from."""
    if stride_p == 1:
        for c in range(tile.shape[0]):
            line = y[first + c * stride_c : first + c * stride_c + count]
            for p in range(line.size):
                line[p] = tile[c, p]
    else:
        for p in range(count):
            line = y[first + p * stride_p : first + p * stride_p + tile.shape[0]]
            for c in range(line.size):
                line[c] = tile[c, p]


@kernel
def exponentials(tile, count, total, keep):
    """total = Σ_c exp(tile − m) with m the maximum of each position; the tile becomes exp(tile − m), or tile − m."""
    largest = np.full(TILE, -np.inf, tile.dtype)
    for c in range(tile.shape[0]):
        for p in range(count):
            largest[p] = tile[c, p] if tile[c, p] > largest[p] else largest[p]  # a NaN comes back through the sum
    total[:count] = 0.0
    for c in range(tile.shape[0]):
        for p in range(count):
            below = tile[c, p] - largest[p]
            e = exp(below)
            total[p] += np.float64(e)
            tile[c, p] = e if keep else below


# ---- one row of many values ----


@kernel
def row_exponentials(row, e):
    """(m, Σ exp(row − m)) with m the maximum of the row; e becomes exp(row − m)."""
    half = row.size - row.size // 2
    low, high = row[:half], row[row.size // 2 :]
    for i in range(half):
        e[i] = high[i] if high[i] > low[i] else low[i]  # a NaN comes back through the sum
    while half > 1:  # halves laid over each other: a loop over vectors, where a running maximum would be one by one
        size, half = half, half - half // 2
        low, high = e[:half], e[size - half : size]
        for i in range(half):
            low[i] = high[i] if high[i] > low[i] else low[i]
    largest = e[0]
    return largest, sum_of_exponentials(row, largest, e)


@kernel(fast=True)
def sum_of_exponentials(row, largest, e):
    total = 0.0
    for i in range(row.size):
        e[i] = exp(row[i] - largest)
        total += np.float64(e[i])
    return total
