"""Pooling: the largest or the mean value of each window."""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from . import check, door
from .check import Size
from .shape import empty_like

Array = np.ndarray
Pair = tuple[int, int]
INT32 = 2**31  # window settings stay below it, so that no position in an image overflows an int64


class MaxPool2dContext(NamedTuple):
    like: Array  # empty, of the dtype of x: dy is checked against it, and x itself can be freed
    x_shape: tuple[int, ...]
    places: Array  # where each maximum came from, flat over H·W: dy goes there. Of the shape of y and any integer dtype
    window: tuple[Pair, Pair, Pair, Pair]  # kernel, stride, padding, dilation: which windows may reach a pixel

    @property
    def indices(self) -> Array:
        """The places as int64."""
        return self.places.astype(np.int64, copy=False)


class AvgPool2dContext(NamedTuple):
    like: Array  # empty, of the dtype of x: dy is checked against it, and x itself can be freed
    x_shape: tuple[int, ...]
    kernel: Pair
    stride: Pair
    padding: Pair
    out_size: Pair
    count_include_pad: bool
    divisor: int | None  # divisor_override


class AdaptiveAvgPool2dContext(NamedTuple):
    like: Array  # empty, of the dtype of x: dy is checked against it, and x itself can be freed
    x_shape: tuple[int, ...]
    out_size: Pair


def max_pool2d(
    x: Array,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
) -> tuple[Array, MaxPool2dContext | None]:
    """y[n, c, p, q] = max_{i, j} x[n, c, p·stride_h − padding_h + i·dilation_h, q·stride_w − padding_w + j·dilation_w]

    x: (N, C, H, W) or (C, H, W). Sizes are ints or (height, width) pairs; `stride=None` is the kernel size. Padding
    counts as −inf, on each side at most half of the kernel. Returns y: (N, C, oh, ow) or (C, oh, ow), and the context;
    oh = floor((H + 2·padding − dilation·(kh − 1) − 1) / stride) + 1, or ceil with `ceil_mode`, where a last window
    that would start in the right padding is dropped. `ctx.indices` holds the place of each maximum in its H·W plane.
    Of equal values the first wins, a NaN wins over all. A dilated window between whose taps the whole image lies
    gives −inf and index −1. `ValueError` for sizes that do not fit, `TypeError` for other types.

    >>> import numpy as np
    >>> y, ctx = max_pool2d(np.array([[[1.0, 5.0, 2.0, 2.0], [3.0, 4.0, 2.0, 2.0]]]), 2)
    >>> y, ctx.indices
    (array([[[5., 2.]]]), array([[[1, 2]]]))
    >>> max_pool2d_backward(np.array([[[10.0, 20.0]]]), ctx)
    array([[[ 0., 10., 20.,  0.],
            [ 0.,  0.,  0.,  0.]]])
    """
    backend = door.enter("max_pool2d", x=x)
    images = check.images("max_pool2d", x)
    kernel, stride, padding = _window("max_pool2d", kernel_size, stride, padding)
    dilation = check.pair("max_pool2d", "dilation", dilation, 1)
    ceil_mode = check.flag("max_pool2d", "ceil_mode", ceil_mode)
    out_size = _out_size("max_pool2d", images.shape, kernel, stride, padding, dilation, ceil_mode)
    y, indices = backend.max_pool2d_forward(images, kernel, stride, padding, dilation, out_size)
    if x.ndim == 3:
        y, indices = y[0], indices[0]
    inputs = {
        "x": x, "kernel_size": kernel, "stride": stride, "padding": padding, "dilation": dilation,
        "ceil_mode": ceil_mode,
    }  # fmt: skip
    ctx = MaxPool2dContext(empty_like(x), x.shape, indices, (kernel, stride, padding, dilation))
    return door.leave("max_pool2d", inputs, y, ctx)


def max_pool2d_backward(dy: Array, ctx: MaxPool2dContext) -> Array:
    """dx: each dy is added to the pixel that was the maximum of its window."""
    door.check_context("max_pool2d", ctx, MaxPool2dContext)
    like, x_shape, places, window = ctx
    backend = door.enter_backward("max_pool2d", ctx, MaxPool2dContext, dy, places.shape, like=like)
    dx = backend.max_pool2d_input_grad(_batch(dy), _batch(places), _batch_shape(x_shape), window)
    return door.leave_backward("max_pool2d", ctx, dy, dx.reshape(x_shape))


def avg_pool2d(
    x: Array,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> tuple[Array, AvgPool2dContext | None]:
    """y[n, c, p, q] = (Σ of the pixels of window (p, q)) / divisor

    x: (N, C, H, W) or (C, H, W). Sizes are ints or (height, width) pairs; `stride=None` is the kernel size. Padding
    counts as 0, on each side at most half of the kernel; the size of y is that of `max_pool2d`.
    The divisor is, with `count_include_pad`, the number of cells of the window that lie in the padded image; without,
    the number of its pixels; `divisor_override`, any int but 0, replaces both.
    `ValueError` for sizes that do not fit, `TypeError` for other types.

    >>> import numpy as np
    >>> y, ctx = avg_pool2d(np.array([[[1.0, 5.0], [2.0, 4.0]]]), 2)
    >>> y
    array([[[3.]]])
    >>> avg_pool2d_backward(np.array([[[8.0]]]), ctx)
    array([[[2., 2.],
            [2., 2.]]])
    """
    backend = door.enter("avg_pool2d", x=x)
    images = check.images("avg_pool2d", x)
    kernel, stride, padding = _window("avg_pool2d", kernel_size, stride, padding)
    ceil_mode = check.flag("avg_pool2d", "ceil_mode", ceil_mode)
    count_include_pad = check.flag("avg_pool2d", "count_include_pad", count_include_pad)
    divisor = divisor_override
    if divisor is not None:
        divisor = check.integer("avg_pool2d", "divisor_override", divisor)
        if divisor == 0:
            raise ValueError("avg_pool2d: divisor_override must not be 0, got 0")
    out_size = _out_size("avg_pool2d", images.shape, kernel, stride, padding, (1, 1), ceil_mode)
    y = backend.avg_pool2d_forward(images, kernel, stride, padding, out_size, count_include_pad, divisor)
    inputs = {"x": x, "kernel_size": kernel, "stride": stride, "padding": padding, "ceil_mode": ceil_mode}
    inputs |= {"count_include_pad": count_include_pad, "divisor_override": divisor}
    ctx = AvgPool2dContext(empty_like(x), x.shape, kernel, stride, padding, out_size, count_include_pad, divisor)
    return door.leave("avg_pool2d", inputs, y if x.ndim == 4 else y[0], ctx)


def avg_pool2d_backward(dy: Array, ctx: AvgPool2dContext) -> Array:
    """dx: each dy / divisor is added to every pixel of its window."""
    door.check_context("avg_pool2d", ctx, AvgPool2dContext)
    like, x_shape, kernel, stride, padding, out_size, count_include_pad, divisor = ctx
    shape = (*x_shape[:-2], *out_size)
    backend = door.enter_backward("avg_pool2d", ctx, AvgPool2dContext, dy, shape, like=like)
    dx = backend.avg_pool2d_input_grad(
        _batch(dy), _batch_shape(x_shape), kernel, stride, padding, count_include_pad, divisor
    )
    return door.leave_backward("avg_pool2d", ctx, dy, dx.reshape(x_shape))


def adaptive_avg_pool2d(
    x: Array, output_size: int | Sequence[int | None]
) -> tuple[Array, AdaptiveAvgPool2dContext | None]:
    """y[n, c, p, q] = the mean of rows floor(p·H/oh) to ceil((p + 1)·H/oh), columns likewise

    x: (N, C, H, W) or (C, H, W). output_size: an int or a pair (oh, ow) of ints ≥ 0, where None keeps that side.
    Returns y: (N, C, oh, ow) or (C, oh, ow), and the context. `ValueError` for sizes that do not fit, `TypeError` for
    other types.

    >>> import numpy as np
    >>> y, ctx = adaptive_avg_pool2d(np.array([[[1.0, 2.0, 6.0]]]), (None, 2))
    >>> y
    array([[[1.5, 4. ]]])
    >>> adaptive_avg_pool2d_backward(np.array([[[2.0, 10.0]]]), ctx)
    array([[[1., 6., 5.]]])
    """
    backend = door.enter("adaptive_avg_pool2d", x=x)
    images = check.images("adaptive_avg_pool2d", x)
    if isinstance(output_size, (tuple, list)) and len(output_size) == 2:
        output_size = [side if given is None else given for given, side in zip(output_size, x.shape[-2:])]
    out_size = check.pair("adaptive_avg_pool2d", "output_size", output_size, 0)
    check.allocatable("adaptive_avg_pool2d", "y of this output_size", (*images.shape[:2], *out_size))
    y = backend.adaptive_avg_pool2d_forward(images, out_size)
    ctx = AdaptiveAvgPool2dContext(empty_like(x), x.shape, out_size)
    return door.leave("adaptive_avg_pool2d", {"x": x, "output_size": out_size}, y if x.ndim == 4 else y[0], ctx)


def adaptive_avg_pool2d_backward(dy: Array, ctx: AdaptiveAvgPool2dContext) -> Array:
    """dx: each dy / (number of pixels of its bin) is added to every pixel of the bin."""
    door.check_context("adaptive_avg_pool2d", ctx, AdaptiveAvgPool2dContext)
    like, x_shape, out_size = ctx
    shape = (*x_shape[:-2], *out_size)
    backend = door.enter_backward("adaptive_avg_pool2d", ctx, AdaptiveAvgPool2dContext, dy, shape, like=like)
    dx = backend.adaptive_avg_pool2d_input_grad(_batch(dy), _batch_shape(x_shape))
    return door.leave_backward("adaptive_avg_pool2d", ctx, dy, dx.reshape(x_shape))


def _batch(images: Array) -> Array:
    return images if images.ndim == 4 else images[None]


def _batch_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    return shape if len(shape) == 4 else (1, *shape)


def _window(operation: str, kernel: Size, stride: Size | None, padding: Size) -> tuple[Pair, Pair, Pair]:
    """(kernel, stride, padding) as pairs."""
    kernel_pair = check.pair(operation, "kernel_size", kernel, 1)
    stride_pair = kernel_pair if stride is None else check.pair(operation, "stride", stride, 1)
    return kernel_pair, stride_pair, check.pair(operation, "padding", padding, 0)


@lru_cache(maxsize=256)  # 0.5 µs instead of 6
def _out_size(operation, x_shape, kernel, stride, padding, dilation, ceil_mode) -> Pair:
    """floor or ceil of (size + 2·padding − dilation·(kernel − 1) − 1) / stride, plus 1, for both sides.

    `ValueError` for windows that do not fit. The pairs are of plain ints, so that equal ones mean the same.
    """
    for name, value in (("kernel_size", kernel), ("stride", stride), ("dilation", dilation)):
        if max(value) >= INT32:
            raise ValueError(f"{operation}: {name} must be below 2**31, got {door.short(value)}")
    if padding[0] > kernel[0] // 2 or padding[1] > kernel[1] // 2:
        raise ValueError(
            f"{operation}: padding must be at most half of kernel_size {kernel}, got {door.short(padding)}"
        )
    sizes = []
    for side in (0, 1):
        size = x_shape[2 + side]
        room = size + 2 * padding[side] - dilation[side] * (kernel[side] - 1) - 1
        count = (-(-room // stride[side]) if ceil_mode else room // stride[side]) + 1
        if ceil_mode and (count - 1) * stride[side] >= size + padding[side]:
            count -= 1  # the last window would start in the right padding
        if count < 1:
            raise ValueError(
                f"{operation}: kernel_size {kernel} must fit into x padded by {padding} with dilation {dilation}, "
                f"got x of shape {door.short(x_shape)}"
            )
        sizes.append(count)
    check.allocatable(operation, "y", (*x_shape[:2], *sizes))
    return sizes[0], sizes[1]
