"""What the operations of a forward pass return, as to shape and dtype: zeros that nobody computed.

`minicnn.compile` runs a model once with this in the place of a backend, to see which operations it calls. The pages of
the arrays are never touched, so the run takes no memory and a few milliseconds.
What is not here the reference computes.
"""

import numpy as np

from . import reference

Array = np.ndarray


def supports(dtype: np.dtype) -> bool:
    """float32 and float64 in native byte order."""
    return dtype == np.float32 or dtype == np.float64


def _like_first(x: Array, *settings) -> Array:
    return np.zeros(x.shape, x.dtype)


relu_forward = leaky_relu_forward = sigmoid_forward = tanh_forward = silu_forward = gelu_forward = _like_first
softmax_forward = log_softmax_forward = dropout_forward = add_forward = batch_norm_eval_forward = _like_first


def conv2d_forward(x, weight, bias, stride, padding, dilation, groups):
    top, bottom, left, right = padding
    (N, _, H, W), (F, _, kh, kw) = x.shape, weight.shape
    oh = (H + top + bottom - dilation[0] * (kh - 1) - 1) // stride[0] + 1
    ow = (W + left + right - dilation[1] * (kw - 1) - 1) // stride[1] + 1
    return np.zeros((N, F, oh, ow), x.dtype)


def conv2d_input_grad(dy, weight, x_shape, stride, padding, dilation, groups):  # the forward of conv_transpose2d
    return np.zeros(x_shape, dy.dtype)


def add_channel_bias(y, bias):
    pass


def linear_forward(x, weight, bias):
    return np.zeros((x.shape[0], weight.shape[0]), x.dtype)


def max_pool2d_forward(x, kernel, stride, padding, dilation, out_size):
    shape = (*x.shape[:2], *out_size)
    return np.zeros(shape, x.dtype), np.zeros(shape, np.int64)


def avg_pool2d_forward(x, kernel, stride, padding, out_size, count_include_pad, divisor):
    return np.zeros((*x.shape[:2], *out_size), x.dtype)


def adaptive_avg_pool2d_forward(x, out_size):
    return np.zeros((*x.shape[:2], *out_size), x.dtype)


def pad_forward(x, amounts, value):
    left, right, top, bottom = amounts
    return np.zeros((x.shape[0], x.shape[1] + top + bottom, x.shape[2] + left + right), x.dtype)


def take2d_forward(x, rows, columns):
    return np.zeros((x.shape[0], rows.size, columns.size), x.dtype)


def blend2d_forward(x, rows, columns):
    return np.zeros((x.shape[0], rows[0].size, columns[0].size), x.dtype)


def concat_forward(arrays, axis):
    shape = list(arrays[0].shape)
    shape[axis] = sum(array.shape[axis] for array in arrays)
    return np.zeros(shape, arrays[0].dtype)


def __getattr__(name: str):
    return getattr(reference, name)
