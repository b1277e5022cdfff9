"""Convolution: chooses the algorithm and hands the arrays over as the kernels want them."""

import numpy as np

from ..settings import get_conv_algorithm
from . import direct, implicit
from .arrays import canonical


def choose(weight_shape, stride, dilation, groups, dtype) -> str:
    """The algorithm for a layer: "direct", "im2col" or "winograd".

    A rule on shapes and dtype alone, never a timing, so that results repeat.
    """
    asked = get_conv_algorithm()
    if asked == "direct":
        return "direct"
    if asked == "im2col":
        return "im2col"
    depthwise = weight_shape[1] == 1 and groups > 1
    return "direct" if depthwise and asked == "auto" else "im2col"


def conv2d_forward(x, weight, bias, stride, padding, dilation, groups):
    """x (N, C, H, W), weight (F, C/groups, kh, kw) to y (N, F, oh, ow)."""
    x, weight = canonical(x), canonical(weight)
    bias = None if bias is None else canonical(bias)
    out_size = (
        (x.shape[2] + padding[0] + padding[1] - dilation[0] * (weight.shape[2] - 1) - 1) // stride[0] + 1,
        (x.shape[3] + padding[2] + padding[3] - dilation[1] * (weight.shape[3] - 1) - 1) // stride[1] + 1,
    )
    algorithm = choose(weight.shape, stride, dilation, groups, x.dtype)
    if x.shape[0] * weight.shape[0] * out_size[0] * out_size[1] == 0 or weight.size == 0:
        y = np.zeros((x.shape[0], weight.shape[0], *out_size), x.dtype)
        return y if bias is None else y + bias[:, None, None]
    if algorithm == "direct":
        return direct.forward(x, weight, bias, stride, padding, dilation, groups, out_size)
    return implicit.forward(x, weight, bias, stride, padding, dilation, groups, out_size)


def conv2d_input_grad(dy, weight, x_shape, stride, padding, dilation, groups):
    # forward: y = weight @ im2col(x), so dL/dx = col2im(weight.T @ dy)
    dy, weight = canonical(dy), canonical(weight)
    if 0 in x_shape or dy.size == 0 or weight.size == 0:
        return np.zeros(x_shape, dy.dtype)
    algorithm = choose(weight.shape, stride, dilation, groups, dy.dtype)
    # dy is read as zero outside, and 0·inf would be NaN where no output lies at all: the loops over the taps skip it
    if algorithm == "direct" or not np.isfinite(weight.sum()):
        return direct.input_grad(dy, weight, x_shape, stride, padding, dilation, groups)
    return implicit.input_grad(dy, weight, x_shape, stride, padding, dilation, groups)


def conv2d_weight_grad(dy, x, weight_shape, stride, padding, dilation, groups):
    # forward: y = weight @ im2col(x), so dL/dweight = dy @ im2col(x).T, summed over the images
    dy, x = canonical(dy), canonical(x)
    if 0 in weight_shape or dy.size == 0 or x.size == 0:
        return np.zeros(weight_shape, dy.dtype)
    if choose(weight_shape, stride, dilation, groups, x.dtype) == "direct":
        return direct.weight_grad(dy, x, weight_shape, stride, padding, dilation, groups)
    return implicit.weight_grad(dy, x, weight_shape, stride, padding, dilation, groups)
