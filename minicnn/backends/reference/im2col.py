"""im2col: a convolution becomes a matrix product; col2im is its adjoint (Chellapilla, Puri & Simard 2006).

Column p holds the patch under output pixel p, one row a (channel, tap):

    columns[n, c, i, j, y, x] = padded[n, c, y·stride_h + i·dilation_h, x·stride_w + j·dilation_w]
"""

import numpy as np


def output_size(size, kernel, stride, pad_total, dilation):
    """floor((size + padding − dilation·(kernel − 1) − 1) / stride) + 1"""
    return (size + pad_total - dilation * (kernel - 1) - 1) // stride + 1


def im2col(x, kernel, stride, padding, dilation, out_size):
    """x (N, C, H, W) to columns (N, C, kh, kw, oh, ow)."""
    N, C, H, W = x.shape
    (kh, kw), (oh, ow) = kernel, out_size
    top, bottom, left, right = padding
    padded = np.zeros((N, C, top + H + bottom, left + W + right), x.dtype)
    padded[:, :, top : top + H, left : left + W] = x
    columns = np.empty((N, C, kh, kw, oh, ow), x.dtype)
    for i in range(kh):
        for j in range(kw):
            columns[:, :, i, j] = padded[:, :, taps(i, 0, oh, stride, dilation), taps(j, 1, ow, stride, dilation)]
    return columns


def col2im(columns, x_shape, stride, padding, dilation):
    """The adjoint of im2col: every column entry is added back to the pixel that it was read from."""
    N, C, kh, kw, oh, ow = columns.shape
    H, W = x_shape[2:]
    top, bottom, left, right = padding
    padded = np.zeros((N, C, top + H + bottom, left + W + right), columns.dtype)
    for i in range(kh):
        for j in range(kw):
            padded[:, :, taps(i, 0, oh, stride, dilation), taps(j, 1, ow, stride, dilation)] += columns[:, :, i, j]
    return np.ascontiguousarray(padded[:, :, top : top + H, left : left + W])


def taps(tap, side, count, stride, dilation):
    """The padded rows (side 0) or columns (side 1) that kernel tap `tap` reads, one an output position."""
    first = tap * dilation[side]
    return slice(first, first + count * stride[side], stride[side])
