"""Arithmetic of whole arrays, dropout among it."""

import numpy as np

from .activation import plain


def add_forward(a, b):
    """y = a + b"""
    with np.errstate(invalid="ignore", over="ignore"):
        return np.asarray(plain(a) + plain(b))


def dropout_forward(x, keep, scale):
    """y = x · scale where keep, else x · 0 (NaN and infinity become NaN); with dy for x it is also the backward."""
    x = plain(x)
    with np.errstate(invalid="ignore", over="ignore"):
        return np.asarray(x * (plain(keep) * x.dtype.type(scale)))
