"""A convolution prepared for inference: its weights are fixed, and what follows it is done as it stores."""

import numpy as np

from . import implicit, prepared_winograd
from .arrays import canonical
from .conv import IM2COL, WINOGRAD, choose, conv2d_forward


def prepare_conv2d(weight, bias, stride, padding, dilation, groups, relu):
    """run(x, residual, out) -> [relu](weight ∗ x + bias [+ residual]); out(shape) gives the array to write into."""
    return Prepared(weight, bias, stride, padding, dilation, groups, relu)


class Prepared:
    """A convolution with its epilogue. Filters are transformed when a first image wants them so."""

    def __init__(self, weight, bias, stride, padding, dilation, groups, relu):
        self.weight, self.relu = canonical(weight), relu
        self.bias = np.zeros(weight.shape[0], weight.dtype) if bias is None else canonical(bias)
        self.stride, self.padding, self.dilation, self.groups = stride, padding, dilation, groups
        self.taps = implicit.kernel_taps(weight.shape[2:], padding, dilation)
        self._transformed = None

    def algorithm(self, shape):
        """One of winograd, im2col and direct, for images of this shape."""
        N, _, oh, ow = self.out_shape(shape)
        tiles = N * -(-oh // 4) * -(-ow // 4)
        return choose(self.weight.shape, self.stride, self.dilation, self.groups, self.weight.dtype, tiles)

    def out_shape(self, shape):
        top, bottom, left, right = self.padding
        (N, _, H, W), (F, _, kh, kw) = shape, self.weight.shape
        oh = (H + top + bottom - self.dilation[0] * (kh - 1) - 1) // self.stride[0] + 1
        ow = (W + left + right - self.dilation[1] * (kw - 1) - 1) // self.stride[1] + 1
        return N, F, oh, ow

    def filters(self):
        """The transformed filters. Two threads that both come first compute the same."""
        if self._transformed is None:
            self._transformed = prepared_winograd.transform_filters(self.weight)
        return self._transformed

    def __call__(self, x, residual, out):
        x, residual = canonical(x), None if residual is None else canonical(residual)
        shape = self.out_shape(x.shape)
        algorithm = self.algorithm(x.shape)
        if algorithm == WINOGRAD:
            y = out(shape)
            prepared_winograd.run(x, self.filters(), self.bias, residual, self.relu, y, self.padding)
        elif algorithm == IM2COL and self.weight.size * x.size:
            y = out(shape)
            grid, whole = (*shape[2:], *self.stride), (0, 0, 1, 1)
            weight = self.weight.reshape(-1)
            implicit.product(x, weight, self.bias, y, self.groups, self.taps, grid, whole, residual, self.relu)
        else:
            y = self._plain(x, residual, out(shape))
        return y

    def _plain(self, x, residual, y):
        """Depthwise layers, which have no matrix product to end with: one pass after the other."""
        y[...] = conv2d_forward(x, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)
        if residual is not None:
            y += residual
        if self.relu:
            y[y <= 0] = 0
        return y
