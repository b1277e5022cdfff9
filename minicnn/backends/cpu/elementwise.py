"""Arithmetic of whole arrays, dropout among it."""

from numba import prange

from .arrays import canonical, part, parts
from .cache import kernel
from .memory import empty_like
from .threads import launch


def add_forward(a, b):
    """y = a + b"""
    a, b = canonical(a), canonical(b)
    y = empty_like(a)
    launch(_add_forward, a.ravel(), b.ravel(), y.ravel())
    return y


@kernel(parallel=True)
def _add_forward(a, b, y):
    for chunk in prange(parts(y.size)):
        left, right, ys = part(a, chunk), part(b, chunk), part(y, chunk)
        for i in range(ys.size):
            ys[i] = left[i] + right[i]


def dropout_forward(x, keep, scale):
    """y = x · scale where keep, else x · 0 (NaN and infinity become NaN); with dy for x it is also the backward."""
    x, keep = canonical(x), canonical(keep)
    y = empty_like(x)
    launch(_dropout_forward, x.ravel(), keep.ravel(), x.dtype.type(scale), y.ravel())
    return y


@kernel(parallel=True)
def _dropout_forward(x, keep, scale, y):
    dropped = x.dtype.type(0)
    for chunk in prange(parts(x.size)):
        xs, keeps, ys = part(x, chunk), part(keep, chunk), part(y, chunk)
        for i in range(xs.size):
            ys[i] = xs[i] * (scale if keeps[i] else dropped)
