"""Softmax and its logarithm along one axis of x, seen as (outer, n, inner). See the reference for the formulas.

A row is one position (outer, inner). Along the last axis a warp takes a row, so that its loads lie side by side; along
another one a thread takes it, and those of a warp lie side by side. Sums are float64.
"""

import math

import numpy as np
from numba import cuda

from .arrays import BLOCK, blocks, flat, xp
from .elementary import exp, log
from .launch import WARP, device, kernel, launch
from .reduce import larger, warp_max, warp_sum


def softmax_forward(x, axis):
    """y = exp(x − m) / Σ exp(x − m), m = max x"""
    return _run(_softmax, axis, x)


def softmax_backward(dy, x, axis):
    # forward: y = softmax(x), and dy_i/dx_j = y_i · ([i = j] − y_j)
    return _run(_softmax_grad, axis, dy, x)


def log_softmax_forward(x, axis):
    """y = (x − m) − log Σ exp(x − m), m = max x"""
    return _run(_log_softmax, axis, x)


def log_softmax_backward(dy, x, axis):
    # forward: y = log softmax(x), and dy_i/dx_j = [i = j] − softmax(x)_j
    return _run(_log_softmax_grad, axis, dy, x)


def _run(row_kernel, axis, *arrays):
    x = arrays[0]
    outer, n, inner = math.prod(x.shape[:axis]), x.shape[axis], math.prod(x.shape[axis:][1:])
    y = xp.empty(x.shape, x.dtype)
    if y.size:
        lanes = lanes_of(inner)
        launch(
            row_kernel, blocks(outer * inner * lanes, BLOCK), BLOCK, *map(flat, arrays), y.reshape(-1),
            outer, n, inner, lanes,
        )  # fmt: skip
    return y


def lanes_of(inner):
    """Threads a row: a warp where its values lie side by side, else one."""
    return WARP if inner == 1 else 1


@device
def row_of(n, inner, lanes):
    """(the row of this thread, its lane in it, where the row begins)."""
    row, lane = cuda.grid(1) // lanes, cuda.grid(1) % lanes
    return row, lane, row // inner * n * inner + row % inner


@device
def row_max_and_sum(x, start, n, inner, lane, lanes):
    """m = max x and Σ exp(x − m) of a row, for a thread without one (lane ≥ n) too: it takes part in the shuffles."""
    m = x.dtype.type(-math.inf)
    for j in range(lane, n, lanes):
        m = larger(m, x[start + j * inner])
    if lanes > 1:
        m = warp_max(m)
    total = np.float64(0)
    for j in range(lane, n, lanes):
        total += np.float64(exp(x[start + j * inner] - m))
    if lanes > 1:
        total = warp_sum(total)
    return m, total


@device
def row_sum(value, lanes):
    """The sum of a float64 over the threads of a row."""
    return warp_sum(value) if lanes > 1 else value


@kernel
def _softmax(x, y, rows, n, inner, lanes):
    row, lane, start = row_of(n, inner, lanes)
    own = lane if row < rows * inner else n  # no values
    m, total = row_max_and_sum(x, start, n, inner, own, lanes)
    for j in range(own, n, lanes):
        i = start + j * inner
        y[i] = np.float64(exp(x[i] - m)) / total


@kernel
def _log_softmax(x, y, rows, n, inner, lanes):
    row, lane, start = row_of(n, inner, lanes)
    own = lane if row < rows * inner else n
    m, total = row_max_and_sum(x, start, n, inner, own, lanes)
    log_total = log(total)
    for j in range(own, n, lanes):
        i = start + j * inner
        y[i] = np.float64(x[i] - m) - log_total


@kernel
def _softmax_grad(dy, x, dx, rows, n, inner, lanes):
    row, lane, start = row_of(n, inner, lanes)
    own = lane if row < rows * inner else n
    m, total = row_max_and_sum(x, start, n, inner, own, lanes)
    dot = np.float64(0)
    for j in range(own, n, lanes):
        i = start + j * inner
        dot += np.float64(dy[i]) * np.float64(exp(x[i] - m))
    dot = row_sum(dot, lanes) / total
    for j in range(own, n, lanes):
        i = start + j * inner
        dx[i] = np.float64(exp(x[i] - m)) / total * (np.float64(dy[i]) - dot)


@kernel
def _log_softmax_grad(dy, x, dx, rows, n, inner, lanes):
    row, lane, start = row_of(n, inner, lanes)
    own = lane if row < rows * inner else n
    m, total = row_max_and_sum(x, start, n, inner, own, lanes)
    upstream = np.float64(0)
    for j in range(own, n, lanes):
        upstream += np.float64(dy[start + j * inner])
    upstream = row_sum(upstream, lanes)
    for j in range(own, n, lanes):
        i = start + j * inner
        dx[i] = np.float64(dy[i]) - np.float64(exp(x[i] - m)) / total * upstream
