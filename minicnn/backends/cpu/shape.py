"""Padding, concatenating, and picking rows and columns."""

import numpy as np
from numba import prange

from .arrays import canonical
from .cache import kernel
from .memory import empty
from .threads import launch

PIXELS = 8192  # a task, about


def pad_forward(x, amounts, value):
    """x (P, H, W) with `value` around it, amounts = (left, right, top, bottom)."""
    x = canonical(x)
    P, H, W = x.shape
    left, right, top, bottom = amounts
    y = empty((P, top + H + bottom, left + W + right), x.dtype)
    launch(_pad_forward, x, y, top, left, x.dtype.type(value))
    return y


@kernel(parallel=True)
def _pad_forward(x, y, top, left, value):
    P, H, W = x.shape
    height, width = y.shape[1:]
    rows = max(1, PIXELS // max(1, width))
    for task in prange((P * height + rows - 1) // rows):
        for each in range(task * rows, min(P * height, (task + 1) * rows)):
            plane, row = each // height, each % height
            target, source = y[plane, row], row - top
            if 0 <= source < H:
                line = x[plane, source]
                for column in range(left):
                    target[column] = value
                for column in range(W):
                    target[np.uintp(left + column)] = line[column]
                for column in range(left + W, width):
                    target[np.uintp(column)] = value
            else:
                for column in range(width):
                    target[column] = value


def pad_input_grad(dy, x_shape, amounts):
    # forward: y[:, top + r, left + c] = x[:, r, c]
    left, _, top, _ = amounts
    dy = canonical(dy)
    dx = empty(x_shape, dy.dtype)
    launch(_pad_input_grad, dy, dx, top, left)
    return dx


@kernel(parallel=True)
def _pad_input_grad(dy, dx, top, left):
    P, H, W = dx.shape
    rows = max(1, PIXELS // max(1, W))
    for task in prange((P * H + rows - 1) // rows):
        for each in range(task * rows, min(P * H, (task + 1) * rows)):
            plane, row = each // H, each % H
            target, line = dx[plane, row], dy[plane, top + row]
            for column in range(W):
                target[column] = line[np.uintp(left + column)]


def take2d_forward(x, rows, columns):
    """y[:, p, q] = x[:, rows[p], columns[q]]"""
    x = canonical(x)
    y = empty((x.shape[0], rows.size, columns.size), x.dtype)
    launch(_take_forward, x, y, rows, columns)
    return y


@kernel(parallel=True)
def _take_forward(x, y, rows, columns):
    oh, ow = y.shape[1:]
    for task in prange(x.shape[0] * oh):
        plane, p = task // oh, task % oh
        for q in range(ow):
            y[plane, p, q] = x[plane, rows[p], columns[q]]


def take2d_input_grad(dy, x_shape, rows, columns):
    # forward: y[:, p, q] = x[:, rows[p], columns[q]], so each dy is added back to its source
    dy = canonical(dy)
    dx = np.zeros(x_shape, dy.dtype)
    launch(_take_input_grad, dy, dx, rows, columns)
    return dx


@kernel(parallel=True)
def _take_input_grad(dy, dx, rows, columns):
    for plane in prange(dy.shape[0]):
        for p in range(rows.size):
            for q in range(columns.size):
                dx[plane, rows[p], columns[q]] += dy[plane, p, q]


def concat_forward(arrays, axis):
    """The arrays one behind the other: nothing but copying, which NumPy does at the speed of memory."""
    return np.ascontiguousarray(np.concatenate(arrays, axis=axis))


def concat_backward(dy, sizes, axis):
    # forward: y = the arrays one behind the other, so dy is cut at their borders
    parts = np.split(dy, np.cumsum(sizes)[:-1], axis=axis)
    return tuple(np.array(part, order="C") for part in parts)
