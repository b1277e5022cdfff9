"""Convolution by plain loops over the taps of the kernel: exact, without columns, and the choice for depthwise layers.

A task owns a plane of the result, so nothing is added from two threads. Cells that a tap reads outside of the image
count as zeros: 0·weight is added, which is NaN where the weight is infinite, as in the reference.
"""

import numpy as np
from numba import prange

from .cache import kernel
from .memory import empty
from .threads import launch


def forward(x, weight, bias, stride, padding, dilation, groups, out_size):
    """y[n, f, oy, ox] = bias[f] + Σ weight[f, c, i, j] · x[n, c, oy·stride_h + i·dilation_h − top, …]"""
    y = np.zeros((x.shape[0], weight.shape[0], *out_size), x.dtype)
    launch(_forward, x, weight, np.empty(0, x.dtype) if bias is None else bias, y, stride, padding, dilation, groups)
    return y


@kernel
def _inside(size, count, tap, stride):
    """The outputs first ≤ o < last of `count` for which 0 ≤ o·stride + tap < size."""
    first = 0 if tap >= 0 else min(count, (stride - 1 - tap) // stride)
    last = min(count, (size - tap + stride - 1) // stride) if size > tap else 0
    return first, max(first, last)


@kernel(parallel=True)
def _forward(x, weight, bias, y, stride, padding, dilation, groups):
    N, _, H, W = x.shape
    F, channels, kh, kw = weight.shape
    oh, ow = y.shape[2:]
    for plane in prange(N * F):
        n, f = plane // F, plane % F
        for c in range(channels):
            source = x[n, f // (F // groups) * channels + c]
            for i in range(kh):
                for j in range(kw):
                    value = weight[f, c, i, j]
                    nothing = value * 0  # what a tap adds that reads padding
                    tap_y, tap_x = i * dilation[0] - padding[0], j * dilation[1] - padding[2]
                    first_y, last_y = _inside(H, oh, tap_y, stride[0])
                    first, last = _inside(W, ow, tap_x, stride[1])
                    for oy in range(oh):
                        row = y[n, f, oy]
                        if first_y <= oy < last_y:
                            line = source[oy * stride[0] + tap_y]
                            for ox in range(first, last):
                                row[ox] += value * line[ox * stride[1] + tap_x]
                        if nothing != 0:
                            for ox in range(ow):
                                if not (first_y <= oy < last_y and first <= ox < last):
                                    row[ox] += nothing
        if bias.size:
            for oy in range(oh):
                for ox in range(ow):
                    y[n, f, oy, ox] += bias[f]


def input_grad(dy, weight, x_shape, stride, padding, dilation, groups):
    # forward: y[oy, ox] += weight[i, j] · x[oy·stride_h + i·dilation_h − top, …], so each tap sends its dy back there
    dx = np.zeros(x_shape, dy.dtype)
    launch(_input_grad, dy, weight, dx, stride, padding, dilation, groups)
    return dx


@kernel(parallel=True)
def _input_grad(dy, weight, dx, stride, padding, dilation, groups):
    N, C, H, W = dx.shape
    F, channels, kh, kw = weight.shape
    oh, ow = dy.shape[2:]
    filters = F // groups
    for plane in prange(N * C):
        n, c = plane // C, plane % C
        for f in range(c // channels * filters, (c // channels + 1) * filters):
            for i in range(kh):
                for j in range(kw):
                    value = weight[f, c % channels, i, j]
                    tap_y, tap_x = i * dilation[0] - padding[0], j * dilation[1] - padding[2]
                    first_y, last_y = _inside(H, oh, tap_y, stride[0])
                    first, last = _inside(W, ow, tap_x, stride[1])
                    for oy in range(first_y, last_y):
                        line, row = dx[n, c, oy * stride[0] + tap_y], dy[n, f, oy]
                        for ox in range(first, last):
                            line[ox * stride[1] + tap_x] += value * row[ox]


def weight_grad(dy, x, weight_shape, stride, padding, dilation, groups):
    # forward: y[oy, ox] += weight[i, j] · x[…], so dL/dweight[i, j] = Σ dy[oy, ox] · x[…]
    dweight = empty(weight_shape, dy.dtype)
    launch(_weight_grad, dy, x, dweight, stride, padding, dilation, groups)
    return dweight


@kernel(parallel=True, fast=True)
def _weight_grad(dy, x, dweight, stride, padding, dilation, groups):
    """Sums a row, then the rows of an image, then the images: short sums lose few digits."""
    N, _, H, W = x.shape
    F, channels, kh, kw = dweight.shape
    oh, ow = dy.shape[2:]
    zero = dy.dtype.type(0)
    for plane in prange(F * channels):
        f, c = plane // channels, plane % channels
        channel = f // (F // groups) * channels + c
        for i in range(kh):
            for j in range(kw):
                tap_y, tap_x = i * dilation[0] - padding[0], j * dilation[1] - padding[2]
                first_y, last_y = _inside(H, oh, tap_y, stride[0])
                first, last = _inside(W, ow, tap_x, stride[1])
                total = zero
                for n in range(N):
                    of_image = zero
                    for oy in range(oh):
                        row, of_row = dy[n, f, oy], zero
                        if first_y <= oy < last_y:
                            line = x[n, channel, oy * stride[0] + tap_y]
                            for ox in range(first):
                                of_row += row[ox] * zero
                            for ox in range(first, last):
                                of_row += row[ox] * line[ox * stride[1] + tap_x]
                            for ox in range(last, ow):
                                of_row += row[ox] * zero
                        else:
                            for ox in range(ow):
                                of_row += row[ox] * zero
                        of_image += of_row
                    total += of_image
                dweight[f, c, i, j] = total
