"""Pooling without indices: the rows of a window first, which are vectors, then along the row that is left."""

import numba
import numpy as np
from numba import prange

from .cache import kernel


@kernel(parallel=True, alone=True)
def max_pool(x, y, size, out_size, window, stride, padding, plan, work):
    """Some planes a task. A line holds the maxima over the rows of a window, between columns of −inf."""
    P, H, W = size
    oh, ow = out_size
    planes, length = plan
    for index in prange((P + planes - 1) // planes):
        task, least = np.int64(index), x.dtype.type(-np.inf)
        at = numba.get_thread_id() * length
        whole = work[at : at + length]
        for i in range(length):
            whole[i] = least
        line = whole[padding[1] : padding[1] + W]
        for plane in range(task * planes, min(P, (task + 1) * planes)):
            for oy in range(oh):
                first = max(0, oy * stride[0] - padding[0])
                last = min(H, oy * stride[0] - padding[0] + window[0])
                _rows(x, plane * H * W, W, first, last, line)
                to = (plane * oh + oy) * ow
                _columns(whole, window[1], stride[1], y[to : to + ow])


@kernel
def _rows(x, at, W, first, last, line):
    """line = the largest of rows first ≤ row < last of a plane"""
    source = x[at + first * W : at + first * W + W]
    for i in range(W):
        line[i] = source[i]
    for row in range(first + 1, last):
        source = x[at + row * W : at + row * W + W]
        for i in range(W):
            line[i] = _larger(line[i], source[i])


@kernel
def _columns(line, taps, stride, out):
    """out[o] = the largest of line[o·stride + tap]. A constant stride makes vector loads."""
    if stride == 1:
        _columns_every(line, taps, 1, out)
    elif stride == 2:
        _columns_every(line, taps, 2, out)
    else:
        _columns_every(line, taps, stride, out)


@kernel
def _columns_every(line, taps, stride, out):
    for o in range(out.size):
        out[o] = line[np.uintp(o * stride)]
    for tap in range(1, taps):
        shifted = line[tap:]
        for o in range(out.size):
            out[o] = _larger(out[o], shifted[np.uintp(o * stride)])


@kernel(inline="always")
def _larger(a, b):
    """The larger of the two, NaN where one is."""
    return b if (b > a) | (b != b) else a


@kernel(parallel=True, fast=True, alone=True)
def mean(x, y, sizes):
    """y[plane] = the mean of a plane"""
    P, size, planes = sizes
    for index in prange((P + planes - 1) // planes):
        task = np.int64(index)
        for plane in range(task * planes, min(P, (task + 1) * planes)):
            pixels, total = x[plane * size : (plane + 1) * size], x.dtype.type(0)
            for i in range(size):
                total += pixels[i]
            y[plane] = total / x.dtype.type(size)
