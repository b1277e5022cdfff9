"""Convolution: chooses the algorithm and hands the arrays over as the kernels want them."""

import numpy as np

from . import addressed, addressed_grad, direct, winograd, winograd_grad
from .algorithms import CHANNELS_GRAD, DIRECT, WINOGRAD, choose
from .arrays import canonical


def _tiles(images, height, width):
    return images * -(-height // 4) * -(-width // 4)


def conv2d_forward(x, weight, bias, stride, padding, dilation, groups):
    """x (N, C, H, W), weight (F, C/groups, kh, kw) to y (N, F, oh, ow)."""
    x, weight = canonical(x), canonical(weight)
    bias = None if bias is None else canonical(bias)
    top, bottom, left, right = padding
    (N, _, H, W), (F, _, kh, kw) = x.shape, weight.shape
    oh = (H + top + bottom - dilation[0] * (kh - 1) - 1) // stride[0] + 1
    ow = (W + left + right - dilation[1] * (kw - 1) - 1) // stride[1] + 1
    if N * F * oh * ow == 0 or weight.size == 0:
        y = np.zeros((N, F, oh, ow), x.dtype)
        return y if bias is None else y + bias[:, None, None]
    algorithm = choose(weight.shape, stride, dilation, groups, x.dtype, _tiles(N, oh, ow))
    if algorithm == WINOGRAD:
        return winograd.forward(x, weight, bias, padding, (oh, ow))
    exact = direct if algorithm == DIRECT else addressed
    return exact.forward(x, weight, bias, stride, padding, dilation, groups, (oh, ow))


def conv2d_input_grad(dy, weight, x_shape, stride, padding, dilation, groups):
    # forward: y = weight @ im2col(x), so dL/dx = col2im(weight.T @ dy)
    dy, weight = canonical(dy), canonical(weight)
    if 0 in x_shape or dy.size == 0 or weight.size == 0:
        return np.zeros(x_shape, dy.dtype)
    algorithm = choose(weight.shape, stride, dilation, groups, dy.dtype, _tiles(x_shape[0], *x_shape[2:]))
    if algorithm == WINOGRAD:
        return winograd.input_grad(dy, weight, x_shape, padding)
    # im2col reads dy as zero outside, and 0·inf would be NaN where no output lies at all: the plain loops skip it
    with np.errstate(all="ignore"):
        finite = np.isfinite(weight.sum())
    exact = direct if algorithm == DIRECT or not finite else addressed
    return exact.input_grad(dy, weight, x_shape, stride, padding, dilation, groups)


def conv2d_weight_grad(dy, x, weight_shape, stride, padding, dilation, groups):
    # forward: y = weight @ im2col(x), so dL/dweight = dy @ im2col(x).T, summed over the images
    dy, x = canonical(dy), canonical(x)
    if 0 in weight_shape or dy.size == 0 or x.size == 0:
        return np.zeros(weight_shape, dy.dtype)
    tiles = _tiles(dy.shape[0], *dy.shape[2:])
    algorithm = choose(weight_shape, stride, dilation, groups, x.dtype, tiles, CHANNELS_GRAD)
    if algorithm == WINOGRAD:
        return winograd_grad.weight_grad(dy, x, weight_shape, padding)
    exact = direct if algorithm == DIRECT else addressed_grad
    return exact.weight_grad(dy, x, weight_shape, stride, padding, dilation, groups)
