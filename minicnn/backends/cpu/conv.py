"""Convolution: chooses the algorithm and hands the arrays over as the kernels want them."""

import numba
import numpy as np

from ..settings import get_conv_algorithm
from . import direct, implicit, implicit_grad, winograd, winograd_grad
from .arrays import canonical

DIRECT, IM2COL, WINOGRAD = "direct", "im2col", "winograd"


def choose(weight_shape, stride, dilation, groups, dtype, tiles) -> str:
    """The algorithm for a layer: a rule on shapes and dtype alone, never a timing, so that results repeat.

    "winograd" serves 3×3, stride 1, dilation 1, one group, float32; asked for elsewhere, im2col takes its place.
    "auto" takes it where it pays: from 16 channels and filters on (below, the transforms cost more than they save), and
    from 12 tiles of 4×4 outputs on (below, transforming the filters does). Depthwise layers have no sums over channels
    that a product could hold in registers: the plain loops take them.
    """
    asked = get_conv_algorithm()
    filters, channels = weight_shape[:2]
    fits = weight_shape[2:] == (3, 3) and stride == dilation == (1, 1) and groups == 1 and dtype == np.float32
    if fits and not numba.config.DISABLE_JIT:  # its transforms are vector code
        pays = min(filters, channels) >= 16 and tiles >= 12
        if asked == WINOGRAD or (asked == "auto" and pays):
            return WINOGRAD
    if asked == DIRECT or (asked == "auto" and groups > 1 and channels == 1):
        return DIRECT
    return IM2COL


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
    exact = direct if algorithm == DIRECT else implicit
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
    exact = direct if algorithm == DIRECT or not finite else implicit
    return exact.input_grad(dy, weight, x_shape, stride, padding, dilation, groups)


def conv2d_weight_grad(dy, x, weight_shape, stride, padding, dilation, groups):
    # forward: y = weight @ im2col(x), so dL/dweight = dy @ im2col(x).T, summed over the images
    dy, x = canonical(dy), canonical(x)
    if 0 in weight_shape or dy.size == 0 or x.size == 0:
        return np.zeros(weight_shape, dy.dtype)
    algorithm = choose(weight_shape, stride, dilation, groups, x.dtype, _tiles(dy.shape[0], *dy.shape[2:]))
    if algorithm == WINOGRAD:
        return winograd_grad.weight_grad(dy, x, weight_shape, padding)
    exact = direct if algorithm == DIRECT else implicit_grad
    return exact.weight_grad(dy, x, weight_shape, stride, padding, dilation, groups)
