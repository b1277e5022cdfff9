"""Convolution by plain loops over the taps of the kernel: exact, and the choice for depthwise layers.

A thread makes one number of y or dx, a block one of dweight, so nothing is added from two places. Cells of the padding
count as zeros in y and dweight: 0·weight is added, which is NaN where the weight is infinite, as in the reference. dx
has no such cells: a pixel sums over the outputs that read it.
"""

import math

from numba import cuda

from .arrays import BLOCK, blocks, empty
from .launch import device, kernel, launch
from .reduce import block_sum


def forward(x, weight, bias, stride, padding, dilation, groups, out_size):
    """y[n, f, oy, ox] = bias[f] + Σ weight[f, c, i, j] · x[n, c, oy·stride_h + i·dilation_h − top, …]"""
    y = empty((x.shape[0], weight.shape[0], *out_size), x.dtype)
    sizes, steps = _sizes(y, x, weight.shape, stride, padding, dilation, groups)
    flat = y.reshape(-1)
    arrays = x.reshape(-1), weight.reshape(-1), flat if bias is None else bias, flat
    launch(_forward, blocks(y.size, BLOCK), BLOCK, *arrays, sizes, steps, int(bias is not None))
    return y


@kernel
def _forward(x, weight, bias, y, sizes, steps, with_bias):
    C, H, W, F, oh, ow, channels, kh, kw, filters = sizes
    at = cuda.grid(1)
    if at >= y.size:
        return
    ox, oy, f, n = at % ow, at // ow % oh, at // (oh * ow) % F, at // (oh * ow * F)
    total = y.dtype.type(0)
    for c in range(channels):
        plane = (n * C + f // filters * channels + c) * H * W
        taps = (f * channels + c) * kh * kw
        for i in range(kh):
            for j in range(kw):
                total += weight[taps + i * kw + j] * pixel(x, plane, oy, ox, i, j, H, W, steps)
    y[at] = total + bias[f] if with_bias else total


@device
def pixel(x, plane, oy, ox, i, j, H, W, steps):
    """What output (oy, ox) reads at tap (i, j): zero in the padding."""
    stride_h, stride_w, top, left, dilation_h, dilation_w = steps
    h, w = oy * stride_h + i * dilation_h - top, ox * stride_w + j * dilation_w - left
    return x[plane + h * W + w] if 0 <= h < H and 0 <= w < W else x.dtype.type(0)


def input_grad(dy, weight, x_shape, stride, padding, dilation, groups):
    # forward: see `forward`; pixel (h, w) was read by the outputs with h = oy·stride_h + i·dilation_h − top
    dx = empty(x_shape, dy.dtype)
    sizes, steps = _sizes(dy, dx, weight.shape, stride, padding, dilation, groups)
    arrays = dy.reshape(-1), weight.reshape(-1), dx.reshape(-1)
    launch(_input_grad, blocks(dx.size, BLOCK), BLOCK, *arrays, sizes, steps, 1)
    return dx


def repair(dx, dy, weight, stride, padding, dilation, groups):
    """Compute what is not finite in dx again: a product that read zeros outside of dy met an infinite weight there."""
    sizes, steps = _sizes(dy, dx, weight.shape, stride, padding, dilation, groups)
    arrays = dy.reshape(-1), weight.reshape(-1), dx.reshape(-1)
    launch(_input_grad, blocks(dx.size, BLOCK), BLOCK, *arrays, sizes, steps, 0)


@kernel
def _input_grad(dy, weight, dx, sizes, steps, all_pixels):
    C, H, W, F, oh, ow, channels, kh, kw, filters = sizes
    stride_h, stride_w, top, left, dilation_h, dilation_w = steps
    at = cuda.grid(1)
    if at >= dx.size or not (all_pixels or not math.isfinite(dx[at])):
        return
    w, h, c, n = at % W, at // W % H, at // (H * W) % C, at // (H * W * C)
    total = dx.dtype.type(0)
    group, c_of_group = c // channels, c % channels
    for f in range(group * filters, (group + 1) * filters):
        for i in range(kh):
            y_steps = h + top - i * dilation_h
            oy = y_steps // stride_h
            if y_steps % stride_h == 0 and 0 <= oy < oh:
                for j in range(kw):
                    x_steps = w + left - j * dilation_w
                    ox = x_steps // stride_w
                    if x_steps % stride_w == 0 and 0 <= ox < ow:
                        tap = ((f * channels + c_of_group) * kh + i) * kw + j
                        total += weight[tap] * dy[((n * F + f) * oh + oy) * ow + ox]
    dx[at] = total


def weight_grad(dy, x, weight_shape, stride, padding, dilation, groups):
    # forward: see `forward`; dweight[f, c, i, j] = Σ dy[n, f, oy, ox] · the pixel that was read there
    dweight = empty(weight_shape, x.dtype)
    sizes, steps = _sizes(dy, x, weight_shape, stride, padding, dilation, groups)
    launch(_weight_grad, dweight.size, BLOCK, dy.reshape(-1), x.reshape(-1), dweight.reshape(-1), sizes, steps, len(x))
    return dweight


@kernel
def _weight_grad(dy, x, dweight, sizes, steps, images):
    C, H, W, F, oh, ow, channels, kh, kw, filters = sizes
    at = cuda.blockIdx.x
    j, i, c, f = at % kw, at // kw % kh, at // (kw * kh) % channels, at // (kw * kh * channels)
    total = 0.0
    for p in range(cuda.threadIdx.x, images * oh * ow, BLOCK):
        ox, oy, n = p % ow, p // ow % oh, p // (oh * ow)
        plane = (n * C + f // filters * channels + c) * H * W
        total += dy[((n * F + f) * oh + oy) * ow + ox] * pixel(x, plane, oy, ox, i, j, H, W, steps)
    total = block_sum(total)
    if cuda.threadIdx.x == 0:
        dweight[at] = total


def _sizes(y, x, weight_shape, stride, padding, dilation, groups):
    """(C, H, W, F, oh, ow, channels of a group, kh, kw, filters of a group), (strides, top, left, dilations)"""
    (C, H, W), (F, oh, ow) = x.shape[1:], y.shape[1:]
    return (C, H, W, F, oh, ow, *weight_shape[1:], F // groups), (*stride, padding[0], padding[2], *dilation)
