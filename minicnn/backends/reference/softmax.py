"""Softmax and its logarithm along one axis.

    y_i = exp(x_i) / Σ_j exp(x_j)

exp overflows for large x, so the largest x is taken from all of them first: numerator and denominator are both
divided by its exp. A row with +inf, or of −inf alone, is NaN.
"""

import numpy as np


def softmax_forward(x, axis):
    """y = exp(x − m) / Σ exp(x − m), m = max x"""
    exp = np.exp(_below_max(x, axis))
    return exp / exp.sum(axis=axis, keepdims=True)


def softmax_backward(dy, x, axis):
    # forward: y = softmax(x), and dy_i/dx_j = y_i · ([i = j] − y_j)
    y = softmax_forward(x, axis)
    with np.errstate(invalid="ignore", over="ignore"):
        return y * (dy - (dy * y).sum(axis=axis, keepdims=True))


def log_softmax_forward(x, axis):
    """y = (x − m) − log Σ exp(x − m), m = max x"""
    below = _below_max(x, axis)
    with np.errstate(divide="ignore"):  # an axis without values sums to 0
        return below - np.log(np.exp(below).sum(axis=axis, keepdims=True))


def log_softmax_backward(dy, x, axis):
    # forward: y = log softmax(x), and dy_i/dx_j = [i = j] − softmax(x)_j
    with np.errstate(invalid="ignore", over="ignore"):
        return dy - softmax_forward(x, axis) * dy.sum(axis=axis, keepdims=True)


def _below_max(x, axis):
    """x − max x, as a C-contiguous array; inf − inf is NaN."""
    with np.errstate(invalid="ignore"):
        return np.ascontiguousarray(x - x.max(axis=axis, keepdims=True, initial=-np.inf))
