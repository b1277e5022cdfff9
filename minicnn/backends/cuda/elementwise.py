"""Arithmetic of whole arrays, dropout among it."""

from numba import cuda

from .arrays import BLOCK, VECTOR, blocks, canonical, flat, on_device, xp
from .launch import kernel, launch
from .maps import apply, binary
from .vector import load4, store4


def add_forward(a, b):
    """y = a + b"""
    return apply(_add, a, b)


def dropout_forward(x, keep, scale):
    """y = x · scale where keep, else x · 0 (NaN and infinity become NaN); with dy for x it is also the backward."""
    x, keep = canonical(x), flat(on_device(keep)).view("uint8")
    y = xp.empty(x.shape, x.dtype)
    launch(_dropout, blocks(y.size, VECTOR * BLOCK), BLOCK, x.reshape(-1), keep, y.reshape(-1), x.dtype.type(scale))
    return y


@binary
def _add(a, b, _):
    return a + b


@kernel
def _dropout(x, keep, y, scale):
    zero = x.dtype.type(0)
    start = VECTOR * cuda.grid(1)
    if start + VECTOR <= y.size:
        x0, x1, x2, x3 = load4(x, start)
        store4(
            y, start, x0 * (scale if keep[start] else zero), x1 * (scale if keep[start + 1] else zero),
            x2 * (scale if keep[start + 2] else zero), x3 * (scale if keep[start + 3] else zero),
        )  # fmt: skip
    else:
        for i in range(start, y.size):
            y[i] = x[i] * (scale if keep[i] else zero)
