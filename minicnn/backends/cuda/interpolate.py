"""Bilinear interpolation: a thread an output pixel forward, a thread an input pixel backward, which gathers.

rows and columns are (low, high, share): y[p] = (1 − share[p]) · x[low[p]] + share[p] · x[high[p]] along each side.
"""

import numpy as np

from ..places import to_numpy
from .arrays import constant, flat, xp
from .launch import device, kernel
from .planes import launch_pixels, pixel
from .shape import takers


def blend2d_forward(x, rows, columns):
    """x (P, H, W) to y (P, oh, ow)."""
    y = xp.empty((x.shape[0], len(rows[0]), len(columns[0])), x.dtype)
    sources = [constant(array) for array in (*rows, *columns)]
    launch_pixels(_blend, len(y), y.shape[1:], flat(x), y.reshape(-1), *sources, x.shape[1:], y.shape[1])
    return y


def blend2d_input_grad(dy, x_shape, rows, columns):
    # forward: y[p] = (1 − share[p]) · x[low[p]] + share[p] · x[high[p]] along each side
    dx = xp.empty(x_shape, dy.dtype)
    lists = (*_uses(rows, x_shape[1], dy.dtype), *_uses(columns, x_shape[2], dy.dtype))
    launch_pixels(_blend_grad, len(dx), dx.shape[1:], flat(dy), dx.reshape(-1), *lists, dx.shape[1], dy.shape[1:])
    return dx


def _uses(side, size, dtype):
    """For each place of x the positions of y that use it, where each place begins, and the shares they take."""
    low, high, share = (to_numpy(array) for array in side)  # a few hundred numbers
    order, begins = takers(np.concatenate([low, high]), size)
    shares = np.concatenate([1 - share, share]).astype(dtype)
    return order, begins, constant(shares)


@device
def _mix(a, b, share):
    return (type(a)(1) - share) * a + share * b


@kernel
def _blend(tiles, width, x, y, row_low, row_high, row_share, column_low, column_high, column_share, x_size, height):
    plane, p, q = pixel(tiles, width)
    if p < height:
        low, high = (plane * x_size[0] + row_low[p]) * x_size[1], (plane * x_size[0] + row_high[p]) * x_size[1]
        left = _mix(x[low + column_low[q]], x[high + column_low[q]], row_share[p])
        right = _mix(x[low + column_high[q]], x[high + column_high[q]], row_share[p])
        y[(plane * height + p) * width + q] = _mix(left, right, column_share[q])


@kernel
def _blend_grad(
    tiles, width, dy, dx, rows, row_begins, row_shares, columns, column_begins, column_shares, height, y_size
):
    plane, row, column = pixel(tiles, width)
    if row < height:
        total = dx.dtype.type(0)
        for a in range(row_begins[row], row_begins[row + 1]):
            base = (plane * y_size[0] + rows[a] % y_size[0]) * y_size[1]  # the list of `high` follows that of `low`
            along = dx.dtype.type(0)
            for b in range(column_begins[column], column_begins[column + 1]):
                along += column_shares[columns[b]] * dy[base + columns[b] % y_size[1]]
            total += row_shares[rows[a]] * along
        dx[(plane * height + row) * width + column] = total
