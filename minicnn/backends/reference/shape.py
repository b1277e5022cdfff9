"""Padding, concatenating, and picking rows and columns."""

import numpy as np


def pad_forward(x, amounts, value):
    """x (P, H, W) with `value` around it, amounts = (left, right, top, bottom)."""
    P, H, W = x.shape
    left, right, top, bottom = amounts
    y = np.full((P, top + H + bottom, left + W + right), value, x.dtype)
    y[:, top : top + H, left : left + W] = x
    return y


def pad_input_grad(dy, x_shape, amounts):
    # forward: y[:, top + r, left + c] = x[:, r, c]
    left, _, top, _ = amounts
    return np.array(dy[:, top : top + x_shape[1], left : left + x_shape[2]], order="C")


def take2d_forward(x, rows, columns):
    """y[:, p, q] = x[:, rows[p], columns[q]]"""
    return np.ascontiguousarray(x[:, rows[:, None], columns])


def take2d_input_grad(dy, x_shape, rows, columns):
    # forward: y[:, p, q] = x[:, rows[p], columns[q]], so each dy is added back to its source
    dx = np.zeros(x_shape, dy.dtype)
    with np.errstate(invalid="ignore", over="ignore"):
        np.add.at(dx, (slice(None), rows[:, None], columns), dy)
    return dx


def concat_forward(arrays, axis):
    """The arrays one behind the other."""
    return np.ascontiguousarray(np.concatenate(arrays, axis=axis))


def concat_backward(dy, sizes, axis):
    # forward: y = the arrays one behind the other, so dy is cut at their borders
    parts = np.split(dy, np.cumsum(sizes)[:-1], axis=axis)
    return tuple(np.array(part, order="C") for part in parts)
