"""Layers prepared for inference: their weights are fixed, and what follows a convolution is done as it stores."""

from . import implicit, winograd
from .arrays import canonical
from .conv import DIRECT, WINOGRAD, choose, conv2d_forward, out_size
from .linear import linear_forward
from .pooling import adaptive_avg_pool2d_forward, max_pool2d_forward


def prepare_conv2d(weight, bias, stride, padding, dilation, groups, relu):
    """run(x, residual, out) -> [relu](weight ∗ x + bias [+ residual]); out(shape) gives the array to write into."""
    weight, bias = canonical(weight), None if bias is None else canonical(bias)
    settings = stride, padding, dilation, groups

    def algorithm(shape):
        size = out_size(shape, weight.shape, stride, padding, dilation)
        return choose(weight.shape, stride, dilation, groups, weight.dtype, (shape[0], *size))

    def run(x, residual, out):
        x, residual = canonical(x), None if residual is None else canonical(residual)
        size = out_size(x.shape, weight.shape, stride, padding, dilation)
        y = out((x.shape[0], weight.shape[0], *size))
        chosen = algorithm(x.shape)
        if chosen == DIRECT or weight.size * x.size * y.size == 0 or canonical(y) is not y:
            y[...] = conv2d_forward(x, weight, bias, *settings)
            if residual is not None:
                y += residual
            if relu:
                y[y <= 0] = 0
            return y
        if chosen == WINOGRAD:
            return winograd.forward(x, weight, bias, padding, size, residual, relu, y)
        return implicit.forward(x, weight, bias, *settings, size, residual, relu, y)

    run.algorithm = algorithm
    return run


def prepare_linear(weight, bias, relu):
    """run(x, out) -> [relu](x @ weight.T + bias) for x (M, K)."""
    weight, bias = canonical(weight), None if bias is None else canonical(bias)

    def run(x, out):
        result = out((len(x), weight.shape[0]))
        result[...] = linear_forward(x, weight, bias)
        if relu:
            result[result <= 0] = 0
        return result

    return run


def max_pool2d_into(x, kernel, stride, padding, y):
    """y = the largest pixel of each window of x"""
    y[...], _ = max_pool2d_forward(x, kernel, stride, padding, (1, 1), y.shape[2:])


def mean2d_into(x, y):
    """y (N, C, 1, 1) = the mean of each plane of x"""
    y[...] = adaptive_avg_pool2d_forward(x, (1, 1))
