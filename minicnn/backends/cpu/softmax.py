"""Softmax and its logarithm along one axis.

x is seen as (outer, C, inner), the axis in the middle. Along the last axis (inner is 1) every row is worked on where it
lies. Along another a task takes a tile of up to TILE positions with all their C values into a buffer (C, TILE), so that
the inner loop runs over positions, whole vectors at a time. Sums are in float64: in float32 a thousand terms one after
the other would lose two digits.
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
VALUES = 8192  # a task of rows, about


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
    outer, C, inner = around(x.shape, axis)
    if x.size == 0:
        return y
    if inner == 1:
        launch(_rows_forward, x.reshape(-1), y.reshape(-1), outer, C, log)
    else:
        launch(_softmax_forward, x.reshape(-1), y.reshape(-1), outer, C, inner, log)
    return y


def _backward(dy, x, axis, log):
    dy, x = canonical(dy), canonical(x)
    dx = empty_like(x)
    outer, C, inner = around(x.shape, axis)
    if x.size == 0:
        return dx
    if inner == 1:
        launch(_rows_backward, dy.reshape(-1), x.reshape(-1), dx.reshape(-1), outer, C, log)
    else:
        launch(_softmax_backward, dy.reshape(-1), x.reshape(-1), dx.reshape(-1), outer, C, inner, log)
    return dx


def around(shape, axis):
    """(outer, C, inner): the sizes before, along and after the axis."""
    return math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :])


@kernel(parallel=True)
def _rows_forward(x, y, outer, C, log):
    rows = max(1, VALUES // C)
    for task in prange((outer + rows - 1) // rows):
        for n in range(task * rows, min(outer, (task + 1) * rows)):
            row, out = x[n * C : (n + 1) * C], y[n * C : (n + 1) * C]
            largest, total = row_exponentials(row, out)
            if log:
                log_total = x.dtype.type(math.log(total))
                for c in range(out.size):
                    out[c] = (row[c] - largest) - log_total
            else:
                factor = x.dtype.type(1.0 / total)
                for c in range(out.size):
                    out[c] *= factor


@kernel(parallel=True)
def _rows_backward(dy, x, dx, outer, C, log):
    rows = max(1, VALUES // C)
    for task in prange((outer + rows - 1) // rows):
        y = np.empty(C, x.dtype)  # softmax(x)
        for n in range(task * rows, min(outer, (task + 1) * rows)):
            upstream, out = dy[n * C : (n + 1) * C], dx[n * C : (n + 1) * C]
            _, total = row_exponentials(x[n * C : (n + 1) * C], y)
            factor = x.dtype.type(1.0 / total)
            for c in range(y.size):
                y[c] *= factor
            if log:
                correction = x.dtype.type(row_sum(upstream))
                for c in range(out.size):
                    out[c] = upstream[c] - y[c] * correction
            else:
                correction = x.dtype.type(row_dot(upstream, y))
                for c in range(out.size):
                    out[c] = y[c] * (upstream[c] - correction)


@kernel(parallel=True)
def _softmax_forward(x, y, outer, C, inner, log):
    for task in prange(tiles(outer, inner)):
        _, first, count = tile_at(task, C, inner)
        tile, total = np.empty((C, TILE), x.dtype), np.empty(TILE)
        gather(x, first, count, inner, tile)
        exponentials(tile, count, total, not log)
        factor = np.empty(TILE, x.dtype)
        for p in range(count):
            factor[p] = math.log(total[p]) if log else 1.0 / total[p]
        for c in range(C):
            for p in range(count):
                tile[c, p] = tile[c, p] - factor[p] if log else tile[c, p] * factor[p]
        scatter(tile, first, count, inner, y)


@kernel(parallel=True)
def _softmax_backward(dy, x, dx, outer, C, inner, log):
    for task in prange(tiles(outer, inner)):
        _, first, count = tile_at(task, C, inner)
        tile, dtile = np.empty((C, TILE), x.dtype), np.empty((C, TILE), x.dtype)
        total, dot = np.empty(TILE), np.zeros(TILE)
        gather(x, first, count, inner, tile)
        gather(dy, first, count, inner, dtile)
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
        scatter(tile, first, count, inner, dx)


# ---- tiles; the losses use them too ----


@kernel
def tiles(outer, inner):
    """How many tiles there are: the positions side by side, `inner` of them, are cut on their own."""
    return outer * ((inner + TILE - 1) // TILE)


@kernel
def tile_at(task, C, inner):
    """(position, first, count) of a tile that begins at this position and holds `count` of them.

    Value c of its p-th position is the element first + c · inner + p of the flat array.
    """
    across = (inner + TILE - 1) // TILE
    row, p = task // across, task % across * TILE
    return row * inner + p, row * C * inner + p, min(TILE, inner - p)


@kernel
def gather(x, first, count, inner, tile):
    """Copy a tile of the flat x into the buffer (C, TILE)."""
    for c in range(tile.shape[0]):
        line = x[first + c * inner : first + c * inner + count]
        for p in range(line.size):
            tile[c, p] = line[p]


@kernel
def scatter(tile, first, count, inner, y):
    """Copy the buffer back to where `gather` took it from."""
    for c in range(tile.shape[0]):
        line = y[first + c * inner : first + c * inner + count]
        for p in range(line.size):
            line[p] = tile[c, p]


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


@kernel(fast=True)
def row_sum(row):
    total = 0.0
    for i in range(row.size):
        total += np.float64(row[i])
    return total


@kernel(fast=True)
def row_dot(a, b):
    total = 0.0
    for i in range(a.size):
        total += np.float64(a[i]) * np.float64(b[i])
    return total
