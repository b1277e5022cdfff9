"""Layers prepared for inference: their weights are fixed, and what follows them is done as they store.

None of this loads Numba as long as the machine code of its kernels is in the cache (native.py).
"""

import threading

import numpy as np

from ..settings import get_conv_algorithm
from . import addressed, prepared_linear, prepared_pooling, prepared_winograd, prepared_winograd_small
from .addressed_plan import forward_taps
from .algorithms import IM2COL, SMALL, WINOGRAD, choose, winograd_fits
from .layout import canonical


def prepare_conv2d(weight, bias, stride, padding, dilation, groups, relu):
    """run(x, residual, out) -> [relu](weight ∗ x + bias [+ residual]); out(shape) gives the array to write into."""
    return Convolution(weight, bias, stride, padding, dilation, groups, relu)


def prepare_linear(weight, bias, relu):
    """run(x, out) -> [relu](x @ weight.T + bias) for x (M, K)."""
    packed, outputs = prepared_linear.pack_linear(weight), weight.shape[0]
    bias = _bias(weight, bias)

    def run(x, out):
        y = out((len(x), outputs))
        if y.size:
            prepared_linear.linear(canonical(x), packed, bias, relu, y)
        return y

    return run


def max_pool2d_into(x, kernel, stride, padding, y):
    """y = the largest pixel of each window of x"""
    if y.size:
        prepared_pooling.max_pool(canonical(x), kernel, stride, padding, y)


def mean2d_into(x, y):
    """y (N, C, 1, 1) = the mean of each plane of x"""
    if y.size:
        prepared_pooling.mean(canonical(x), y)


def _bias(weight, bias):
    return np.zeros(weight.shape[0], weight.dtype) if bias is None else canonical(bias)


class Convolution:
    """A convolution with its epilogue. Filters take the form that an algorithm wants when a first image needs it."""

    def __init__(self, weight, bias, stride, padding, dilation, groups, relu):
        self.shape, self.dtype, self.relu = weight.shape, weight.dtype, relu
        self.bias = _bias(weight, bias)
        self.stride, self.padding, self.dilation, self.groups = stride, padding, dilation, groups
        self.taps = forward_taps(weight.shape[2:], padding, dilation)
        self._weight = canonical(weight)  # None from the time when it is packed
        self._packed = self._transformed = self._small = None
        self._changing = threading.Lock()

    def algorithm(self, shape):
        """What computes images of this shape: winograd, winograd 2×2, im2col or direct."""
        y_shape = N, _, oh, ow = self.out_shape(shape)
        layer = self.shape, self.stride, self.dilation, self.groups, self.dtype
        found = choose(*layer, N * -(-oh // 4) * -(-ow // 4))
        if found == IM2COL and get_conv_algorithm() == "auto" and winograd_fits(*layer):
            return SMALL if prepared_winograd_small.pays(self.shape, y_shape) else found
        return found

    def out_shape(self, shape):
        top, bottom, left, right = self.padding
        (N, _, H, W), (F, _, kh, kw) = shape, self.shape
        oh = (H + top + bottom - self.dilation[0] * (kh - 1) - 1) // self.stride[0] + 1
        ow = (W + left + right - self.dilation[1] * (kw - 1) - 1) // self.stride[1] + 1
        return N, F, oh, ow

    def weight(self):
        """The weights as they came."""
        with self._changing:
            if self._weight is not None:
                return self._weight
            return addressed.unpack_filters(self._packed, self.shape, self.groups)

    def packed(self):
        """The weights as a matrix product reads them: another order, the same size, so they take the place."""
        with self._changing:
            if self._packed is None:
                self._packed = addressed.pack_filters(self._weight, self.groups)
                self._weight = None
            return self._packed

    def transformed(self):
        """The filters as Winograd multiplies them, four times as large."""
        if self._transformed is None:  # two threads that both come first compute the same
            self._transformed = prepared_winograd.transform_filters(self.weight())
        return self._transformed

    def transformed_small(self):
        """The same for tiles of 2×2 outputs, 16/9 times as large as the weights."""
        if self._small is None:
            self._small = prepared_winograd_small.transform_filters(self.weight())
        return self._small

    def __call__(self, x, residual, out):
        x, residual = canonical(x), None if residual is None else canonical(residual)
        algorithm, y = self.algorithm(x.shape), out(self.out_shape(x.shape))
        if algorithm == WINOGRAD:
            prepared_winograd.run(x, self.transformed(), self.bias, residual, self.relu, y, self.padding)
        elif algorithm == SMALL:
            prepared_winograd_small.run(x, self.transformed_small(), self.bias, residual, self.relu, y, self.padding)
        elif algorithm == IM2COL and x.size and y.size:
            grid = (*y.shape[2:], *self.stride)
            addressed.convolve(
                x, self.packed(), addressed.PACKED, y, self.groups, self.taps, grid, self.bias, residual, self.relu
            )
        else:
            self._plain(x, residual, y)
        return y

    def _plain(self, x, residual, y):
        """Depthwise layers, which have no matrix product to end with: one pass after the other."""
        from .conv import conv2d_forward

        y[...] = conv2d_forward(x, self.weight(), self.bias, self.stride, self.padding, self.dilation, self.groups)
        if residual is not None:
            y += residual
        if self.relu:
            y[y <= 0] = 0
