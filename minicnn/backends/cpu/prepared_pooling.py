"""Pooling for inference: no indices of the maxima, and the mean of whole planes."""

from ..settings import get_num_threads
from .native import Kernel
from .scratch import odd_lines, scratch

PLANES_BYTES = 64 << 10  # of images a task

_max_pool = Kernel("prepared_pooling_kernels", "max_pool")
_mean = Kernel("prepared_pooling_kernels", "mean")


def max_pool(x, kernel, stride, padding, y):
    """y (N, C, oh, ow) = the largest pixel of each window of x, NaN where there is one; padding is −inf."""
    (N, C, H, W), (oh, ow) = x.shape, y.shape[2:]
    line = odd_lines(max((ow - 1) * stride[1] + kernel[1], W + padding[1]) + 1, 16)
    work = scratch(x.dtype, line * get_num_threads())
    planes = max(1, PLANES_BYTES // (H * W * x.itemsize))
    _max_pool(x.dtype, x.reshape(-1), y.reshape(-1), (N * C, H, W), (oh, ow), kernel, stride, padding,
              (planes, line), work)  # fmt: skip


def mean(x, y):
    """y (N, C, 1, 1) = the mean of each plane of x (N, C, H, W)"""
    size = x.shape[2] * x.shape[3]
    planes = max(1, PLANES_BYTES // (size * x.itemsize))
    _mean(x.dtype, x.reshape(-1), y.reshape(-1), (x.shape[0] * x.shape[1], size, planes))
