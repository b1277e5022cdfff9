"""Layers prepared for inference: their weights are fixed, and what follows them is done as they store."""

import numpy as np

from .conv import conv2d_forward
from .linear import linear_forward
from .pooling import adaptive_avg_pool2d_forward, max_pool2d_forward


def prepare_conv2d(weight, bias, stride, padding, dilation, groups, relu):
    """run(x, residual, out) -> [relu](weight ∗ x + bias [+ residual]); out(shape) gives the array to write into."""

    def run(x, residual, out):
        y = conv2d_forward(x, weight, bias, stride, padding, dilation, groups)
        if residual is not None:
            y = y + residual
        result = out(y.shape)
        result[...] = np.where(y <= 0, np.zeros((), y.dtype), y) if relu else y
        return result

    run.algorithm = lambda shape: "im2col"
    return run


def prepare_linear(weight, bias, relu):
    """run(x, out) -> [relu](x @ weight.T + bias) for x (M, K)."""

    def run(x, out):
        y = linear_forward(x, weight, bias)
        result = out(y.shape)
        result[...] = np.where(y <= 0, np.zeros((), y.dtype), y) if relu else y
        return result

    return run


def max_pool2d_into(x, kernel, stride, padding, y):
    """y = the largest pixel of each window of x"""
    y[...], _ = max_pool2d_forward(x, kernel, stride, padding, (1, 1), y.shape[2:])


def mean2d_into(x, y):
    """y (N, C, 1, 1) = the mean of each plane of x"""
    y[...] = adaptive_avg_pool2d_forward(x, (1, 1))
