"""Pooling layers."""

from typing import Any

import numpy as np

from .. import functional as F
from ..functional import check
from ..functional.check import Size
from ..functional.door import short
from .module import Module

Array = np.ndarray


class MaxPool2d(Module):
    """The largest value of each window; x (N, C, H, W) or (C, H, W). stride None: the kernel size.

    >>> import numpy as np
    >>> MaxPool2d(2)(np.arange(16.0).reshape(1, 4, 4))
    array([[[ 5.,  7.],
            [13., 15.]]])
    """

    def __init__(
        self,
        kernel_size: Size,
        stride: Size | None = None,
        padding: Size = 0,
        dilation: Size = 1,
        *,
        ceil_mode: bool = False,
    ):
        super().__init__()
        self.kernel_size, self.stride, self.padding = windows("MaxPool2d", kernel_size, stride, padding)
        self.dilation = size("MaxPool2d", "dilation", dilation, 1)
        self.ceil_mode = check.flag("MaxPool2d", "ceil_mode", ceil_mode)

    def forward(self, x: Array) -> Array:
        y, ctx = F.max_pool2d(x, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode)
        self.keep(ctx)
        return y

    def backward(self, dy: Array, need_dx: bool = True) -> Array:
        # forward: y = x at the index of the maximum of each window
        with self.kept() as ctx:
            return F.max_pool2d_backward(dy, ctx)

    def extra_repr(self) -> str:
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, "
            f"dilation={self.dilation}, ceil_mode={self.ceil_mode}"
        )


class AvgPool2d(Module):
    """The mean of each window; x (N, C, H, W) or (C, H, W). stride None: the kernel size.

    count_include_pad: cells of the padding count in the divisor; divisor_override: a divisor of one's own.

    >>> import numpy as np
    >>> AvgPool2d(2)(np.arange(16.0).reshape(1, 4, 4))
    array([[[ 2.5,  4.5],
            [10.5, 12.5]]])
    """

    def __init__(
        self,
        kernel_size: Size,
        stride: Size | None = None,
        padding: Size = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ):
        super().__init__()
        name = "AvgPool2d"
        self.kernel_size, self.stride, self.padding = windows(name, kernel_size, stride, padding)
        self.ceil_mode = check.flag(name, "ceil_mode", ceil_mode)
        self.count_include_pad = check.flag(name, "count_include_pad", count_include_pad)
        self.divisor_override = divisor_override
        if divisor_override is not None and check.integer(name, "divisor_override", divisor_override) == 0:
            raise ValueError(f"{name}: divisor_override must not be 0")

    def forward(self, x: Array) -> Array:
        y, ctx = F.avg_pool2d(
            x, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad,
            self.divisor_override,
        )  # fmt: skip
        self.keep(ctx)
        return y

    def backward(self, dy: Array, need_dx: bool = True) -> Array:
        # forward: y = Σ window / divisor
        with self.kept() as ctx:
            return F.avg_pool2d_backward(dy, ctx)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AdaptiveAvgPool2d(Module):
    """The mean of each of output_size bins, an int or (height, width), where None keeps a side.

    >>> import numpy as np
    >>> AdaptiveAvgPool2d(1)(np.arange(16.0).reshape(1, 4, 4))
    array([[[7.5]]])
    """

    def __init__(self, output_size: Any):
        super().__init__()
        name, is_pair = "AdaptiveAvgPool2d", isinstance(output_size, (tuple, list))
        if is_pair and len(output_size) != 2:
            raise ValueError(f"{name}: output_size must be an int or a pair of ints or None, got {short(output_size)}")
        for side in output_size if is_pair else (output_size,):
            if not (is_pair and side is None):
                check.integer(name, "output_size", side, 0)
        self.output_size = output_size

    def forward(self, x: Array) -> Array:
        y, ctx = F.adaptive_avg_pool2d(x, self.output_size)
        self.keep(ctx)
        return y

    def backward(self, dy: Array, need_dx: bool = True) -> Array:
        # forward: y = the mean of each bin
        with self.kept() as ctx:
            return F.adaptive_avg_pool2d_backward(dy, ctx)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


def windows(name: str, kernel_size: Size, stride: Size | None, padding: Size) -> tuple[Size, Size, Size]:
    """The three as given, after a check; a padding of at most half of the kernel."""
    kernel_size = size(name, "kernel_size", kernel_size, 1)
    stride = kernel_size if stride is None else size(name, "stride", stride, 1)
    padding = size(name, "padding", padding, 0)
    for k, p in zip(check.pair(name, "kernel_size", kernel_size, 1), check.pair(name, "padding", padding, 0)):
        if 2 * p > k:
            raise ValueError(f"{name}: padding must be at most half of kernel_size {kernel_size}, got {short(padding)}")
    return kernel_size, stride, padding


def size(name: str, label: str, value: Size, least: int) -> Size:
    """An int, or a tuple of two: as it was given, so that repr shows that."""
    height, width = check.pair(name, label, value, least)
    return height if np.ndim(value) == 0 else (height, width)
