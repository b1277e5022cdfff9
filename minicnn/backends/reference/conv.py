"""Convolution as im2col and a matrix product.

    y[n, f, p] = Σ_k weight[f, k] · columns[n, k, p] + bias[f]        k = (c, i, j), p = (oy, ox)

With groups the channels and filters are cut into that many independent convolutions: axis g below.
Infinities and NaN pass as in any product, without a warning.
"""

import numpy as np

from .im2col import col2im, im2col, output_size


@np.errstate(invalid="ignore", over="ignore")
def conv2d_forward(x, weight, bias, stride, padding, dilation, groups):
    """x (N, C, H, W), weight (F, C/groups, kh, kw) to y (N, F, oh, ow)."""
    N, F, kernel = x.shape[0], weight.shape[0], weight.shape[2:]
    top, bottom, left, right = padding
    oh = output_size(x.shape[2], kernel[0], stride[0], top + bottom, dilation[0])
    ow = output_size(x.shape[3], kernel[1], stride[1], left + right, dilation[1])
    columns = im2col(x, kernel, stride, padding, dilation, (oh, ow)).reshape(N, groups, K(weight.shape), oh * ow)
    filters = weight.reshape(groups, F // groups, K(weight.shape))
    y = filters @ columns  # (g, F/g, K) @ (N, g, K, P) -> (N, g, F/g, P)
    y = np.ascontiguousarray(y).reshape(N, F, oh, ow)
    return y if bias is None else y + bias[:, None, None]


@np.errstate(invalid="ignore", over="ignore")
def conv2d_input_grad(dy, weight, x_shape, stride, padding, dilation, groups):
    # forward: y = weight @ im2col(x), so dL/dx = col2im(weight.T @ dy)
    N, F, oh, ow = dy.shape
    filters = weight.reshape(groups, F // groups, K(weight.shape))
    dy = dy.reshape(N, groups, F // groups, oh * ow)
    columns = filters.transpose(0, 2, 1) @ dy  # (g, K, F/g) @ (N, g, F/g, P) -> (N, g, K, P)
    return col2im(columns.reshape(N, x_shape[1], *weight.shape[2:], oh, ow), x_shape, stride, padding, dilation)


@np.errstate(invalid="ignore", over="ignore")
def conv2d_weight_grad(dy, x, weight_shape, stride, padding, dilation, groups):
    # forward: y = weight @ im2col(x), so dL/dweight = dy @ im2col(x).T, summed over the images
    N, F, oh, ow = dy.shape
    columns = im2col(x, weight_shape[2:], stride, padding, dilation, (oh, ow))
    columns = columns.reshape(N, groups, K(weight_shape), oh * ow)
    dy = dy.reshape(N, groups, F // groups, oh * ow)
    dweight = dy @ columns.transpose(0, 1, 3, 2)  # (N, g, F/g, P) @ (N, g, P, K) -> (N, g, F/g, K)
    return np.ascontiguousarray(dweight.sum(axis=0)).reshape(weight_shape)


def K(weight_shape):
    """Length of one filter: input channels of a group times kernel taps."""
    return int(np.prod(weight_shape[1:]))
