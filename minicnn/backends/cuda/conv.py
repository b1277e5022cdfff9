"""Convolution: chooses the algorithm and hands the arrays over as the kernels want them."""

from ..settings import get_conv_algorithm
from . import direct, implicit, implicit_grad, winograd
from .arrays import canonical, zeros
from .linear import add_channel_bias

DIRECT, IM2COL, WINOGRAD = "direct", "im2col", "winograd"
MOST_BLOCKS = 65535  # of a grid along its third axis: groups times phases


def choose(weight_shape, stride, dilation, groups, dtype, outputs):
    """The algorithm for a layer: a rule on its shape alone, never a timing, so that results repeat.

    outputs: (images, height, width). "winograd" serves 3×3, stride 1, dilation 1, one group, float32; asked for
    elsewhere, the exact product takes its place. "auto" takes it where it pays (see there). Depthwise layers have no
    sums over channels that a block could share: the plain loops take them, and what would need more blocks side by side
    than a grid has.
    """
    asked = get_conv_algorithm()
    wanted = asked == WINOGRAD or (asked == "auto" and winograd.pays(*weight_shape[:2], *outputs))
    if wanted and winograd.fits(weight_shape, stride, dilation, groups, dtype) and max(weight_shape) <= MOST_BLOCKS:
        return WINOGRAD
    depthwise = groups > 1 and weight_shape[1] == 1
    too_many = groups * stride[0] * stride[1] > MOST_BLOCKS
    return DIRECT if asked == DIRECT or too_many or (asked == "auto" and depthwise) else IM2COL


def conv2d_forward(x, weight, bias, stride, padding, dilation, groups):
    """x (N, C, H, W), weight (F, C/groups, kh, kw) to y (N, F, oh, ow)."""
    x, weight = canonical(x), canonical(weight)
    bias = None if bias is None else canonical(bias)
    size = out_size(x.shape, weight.shape, stride, padding, dilation)
    shape = (x.shape[0], weight.shape[0], *size)
    if 0 in shape or weight.size == 0:
        y = zeros(shape, x.dtype)
        if bias is not None and y.size:
            add_channel_bias(y, bias)
        return y
    chosen = choose(weight.shape, stride, dilation, groups, x.dtype, (shape[0], *size))
    if chosen == WINOGRAD:
        return winograd.forward(x, weight, bias, padding, size)
    algorithm = direct if chosen == DIRECT else implicit
    return algorithm.forward(x, weight, bias, stride, padding, dilation, groups, size)


def out_size(x_shape, weight_shape, stride, padding, dilation):
    """(oh, ow)"""
    top, bottom, left, right = padding
    oh = (x_shape[2] + top + bottom - dilation[0] * (weight_shape[2] - 1) - 1) // stride[0] + 1
    ow = (x_shape[3] + left + right - dilation[1] * (weight_shape[3] - 1) - 1) // stride[1] + 1
    return oh, ow


def conv2d_input_grad(dy, weight, x_shape, stride, padding, dilation, groups):
    # forward: y = weight @ im2col(x), so dL/dx = col2im(weight.T @ dy)
    dy, weight = canonical(dy), canonical(weight)
    if 0 in x_shape or dy.size == 0 or weight.size == 0:
        return zeros(x_shape, dy.dtype)
    chosen = choose(weight.shape, stride, dilation, groups, dy.dtype, (x_shape[0], *x_shape[2:]))
    if chosen == WINOGRAD:
        return winograd.input_grad(dy, weight, x_shape, padding)
    if chosen == DIRECT:
        return direct.input_grad(dy, weight, x_shape, stride, padding, dilation, groups)
    dx = implicit.input_grad(dy, weight, x_shape, stride, padding, dilation, groups)
    # Whether a weight is infinite only the GPU knows, and asking it would wait for it: a pass over dx costs less.
    direct.repair(dx, dy, weight, stride, padding, dilation, groups)
    return dx


def conv2d_weight_grad(dy, x, weight_shape, stride, padding, dilation, groups):
    # forward: y = weight @ im2col(x), so dL/dweight = dy @ im2col(x).T, summed over the images
    dy, x = canonical(dy), canonical(x)
    if 0 in weight_shape or dy.size == 0 or x.size == 0:
        return zeros(weight_shape, dy.dtype)
    chosen = choose(weight_shape, stride, dilation, groups, dy.dtype, (len(dy), *dy.shape[2:]))
    if chosen == WINOGRAD:
        return winograd.weight_grad(dy, x, weight_shape, padding)
    algorithm = direct if chosen == DIRECT else implicit_grad
    return algorithm.weight_grad(dy, x, weight_shape, stride, padding, dilation, groups)
