"""Bilinear interpolation, one side after the other; rows and columns are (low, high, share):

y[p] = (1 − share[p]) · x[low[p]] + share[p] · x[high[p]]
"""

import numpy as np
from numba import prange

from .arrays import canonical
from .cache import kernel
from .memory import empty
from .threads import launch


def blend2d_forward(x, rows, columns):
    """x (P, H, W) to y (P, oh, ow)."""
    x = canonical(x)
    y = empty((x.shape[0], rows[0].size, columns[0].size), x.dtype)
    launch(_blend_forward, x, y, *rows, *columns)
    return y


@kernel(parallel=True)
def _blend_forward(x, y, row_low, row_high, row_share, column_low, column_high, column_share):
    W = x.shape[2]
    oh, ow = y.shape[1:]
    one = x.dtype.type(1)
    for task in prange(x.shape[0] * oh):
        plane, p = task // oh, task % oh
        above, below, share = x[plane, row_low[p]], x[plane, row_high[p]], row_share[p]
        line = np.empty(W, x.dtype)
        for column in range(W):
            line[column] = (one - share) * above[column] + share * below[column]
        for q in range(ow):
            part = column_share[q]
            y[plane, p, q] = (one - part) * line[column_low[q]] + part * line[column_high[q]]


def blend2d_input_grad(dy, x_shape, rows, columns):
    # forward: y[p] = (1 − share[p]) · x[low[p]] + share[p] · x[high[p]], rows first, so columns come first here
    dy = canonical(dy)
    dx = np.zeros(x_shape, dy.dtype)
    launch(_blend_input_grad, dy, dx, *rows, *columns)
    return dx


@kernel(parallel=True)
def _blend_input_grad(dy, dx, row_low, row_high, row_share, column_low, column_high, column_share):
    P, _, W = dx.shape
    oh, ow = dy.shape[1:]
    one = dy.dtype.type(1)
    for plane in prange(P):
        line = np.empty(W, dy.dtype)
        for p in range(oh):
            for column in range(W):
                line[column] = 0
            for q in range(ow):
                part = column_share[q]
                line[column_low[q]] += (one - part) * dy[plane, p, q]
                line[column_high[q]] += part * dy[plane, p, q]
            above, below, share = row_low[p], row_high[p], row_share[p]
            for column in range(W):
                dx[plane, above, column] += (one - share) * line[column]
            for column in range(W):
                dx[plane, below, column] += share * line[column]
