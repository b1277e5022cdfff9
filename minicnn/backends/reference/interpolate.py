"""Bilinear interpolation, one side after the other.

rows and columns are (low, high, share): position p is blended from two sources of x,

    y[p] = (1 − share[p]) · x[low[p]] + share[p] · x[high[p]]
"""

import numpy as np


@np.errstate(invalid="ignore", over="ignore")
def blend2d_forward(x, rows, columns):
    """x (P, H, W) to y (P, oh, ow)."""
    low, high, share = rows
    share = share[:, None]
    x = (1 - share) * x[:, low] + share * x[:, high]  # (P, H, W) -> (P, oh, W)
    low, high, share = columns
    return np.ascontiguousarray((1 - share) * x[:, :, low] + share * x[:, :, high])  # -> (P, oh, ow)


@np.errstate(invalid="ignore", over="ignore")
def blend2d_input_grad(dy, x_shape, rows, columns):
    # forward: y[p] = (1 − share[p]) · x[low[p]] + share[p] · x[high[p]], rows first, so columns come first here
    low, high, share = columns
    half = np.zeros((*dy.shape[:2], x_shape[2]), dy.dtype)  # (P, oh, W)
    np.add.at(half, (slice(None), slice(None), low), (1 - share) * dy)
    np.add.at(half, (slice(None), slice(None), high), share * dy)
    low, high, share = rows
    share = share[:, None]
    dx = np.zeros(x_shape, dy.dtype)
    np.add.at(dx, (slice(None), low), (1 - share) * half)
    np.add.at(dx, (slice(None), high), share * half)
    return dx
