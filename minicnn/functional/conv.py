"""Two-dimensional convolution (in the sense of deep learning: the kernel is not flipped)."""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from . import check, door
from .check import Size

Array = np.ndarray
Pair = tuple[int, int]


class Conv2dContext(NamedTuple):
    x: Array  # dweight = dy @ im2col(x).T
    weight: Array  # dx = col2im(weight.T @ dy)
    bias: Array | None  # None: there is no dbias
    stride: Pair
    padding: tuple[int, int, int, int]  # (top, bottom, left, right)
    dilation: Pair
    groups: int


def conv2d(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    stride: Size = 1,
    padding: Size | str = 0,
    dilation: Size = 1,
    groups: int = 1,
) -> tuple[Array, Conv2dContext | None]:
    """y[n, f, p, q] = bias[f] + Σ_{c, i, j} weight[f, c, i, j] · padded[n, c, p·stride_h + i·dilation_h, …]

    `padded` is x with `padding` zeros around it. Sizes are ints or (height, width) pairs.

    x: (N, C, H, W) or (C, H, W). weight: (F, C/groups, kh, kw). bias: (F,) or None.
    padding: zeros on each side; "valid" is 0; "same" keeps the size (stride 1 only): of the dilation·(k − 1) zeros
    that takes, the floor half goes left and top. groups: channels and filters are cut into that many independent
    convolutions; it must divide both. Returns y: (N, F, oh, ow) or (F, oh, ow), and the context, where
    oh = floor((H + 2·padding − dilation·(kh − 1) − 1) / stride) + 1.
    `ValueError` for shapes and sizes that do not fit, `TypeError` for other types and dtypes.

    >>> import numpy as np
    >>> y, ctx = conv2d(np.arange(9.0).reshape(1, 1, 3, 3), np.ones((1, 1, 2, 2)))
    >>> y
    array([[[[ 8., 12.],
             [20., 24.]]]])
    >>> dx, dweight, dbias = conv2d_backward(np.ones((1, 1, 2, 2)), ctx)
    >>> dx
    array([[[[1., 2., 1.],
             [2., 4., 2.],
             [1., 2., 1.]]]])
    >>> dweight
    array([[[[ 8., 12.],
             [20., 24.]]]])
    >>> dbias is None
    True
    """
    backend = door.enter("conv2d", x=x, weight=weight, bias=bias)
    images = check.images("conv2d", x)
    check_filters("conv2d", weight)
    stride, dilation = check.pair("conv2d", "stride", stride, 1), check.pair("conv2d", "dilation", dilation, 1)
    groups = check.integer("conv2d", "groups", groups, 1)
    padding = _padding(padding, weight.shape[2:], stride, dilation)
    _check_channels(x.shape, weight.shape, groups)
    if bias is not None:
        check.shape("conv2d", "bias", bias, weight.shape[:1], "one a filter")
    _check_output_size(images.shape, weight.shape, stride, padding, dilation)
    y = backend.conv2d_forward(images, weight, bias, stride, padding, dilation, groups)
    inputs = {
        "x": x, "weight": weight, "bias": bias, "stride": stride, "padding": padding, "dilation": dilation,
        "groups": groups,
    }  # fmt: skip
    ctx = Conv2dContext(x, weight, bias, stride, padding, dilation, groups)
    return door.leave("conv2d", inputs, y if x.ndim == 4 else y[0], ctx)


def conv2d_backward(
    dy: Array, ctx: Conv2dContext, *, needs: tuple[bool, bool, bool] = (True, True, True)
) -> tuple[Array | None, Array | None, Array | None]:
    """(dx, dweight, dbias), of the shapes of x, weight and bias; `needs` says which to compute, None for the rest.

    dx[n, c, ·] gathers weight · dy over the windows that cover a pixel, dweight = Σ dy · x over images and positions,
    dbias[f] = Σ dy[:, f].
    """
    door.check_context("conv2d", ctx, Conv2dContext)
    x, weight, bias, *settings = ctx
    images = x if x.ndim == 4 else x[None]
    oh, ow = output_size(images.shape[2:], weight.shape[2:], ctx.stride, ctx.padding, ctx.dilation)
    shape = (*x.shape[:-3], weight.shape[0], oh, ow)
    backend = door.enter_backward("conv2d", ctx, Conv2dContext, dy, shape, like=x)
    dy4 = dy if x.ndim == 4 else dy[None]
    dx = backend.conv2d_input_grad(dy4, weight, images.shape, *settings).reshape(x.shape) if needs[0] else None
    dweight = backend.conv2d_weight_grad(dy4, images, weight.shape, *settings) if needs[1] else None
    dbias = backend.channel_sum(dy4) if needs[2] and bias is not None else None
    return door.leave_backward("conv2d", ctx, dy, (dx, dweight, dbias))


def output_size(size: Pair, kernel: Pair, stride: Pair, padding: tuple[int, int, int, int], dilation: Pair) -> Pair:
    """floor((size + padding − dilation·(kernel − 1) − 1) / stride) + 1, for both sides; below 1: no window fits."""
    top, bottom, left, right = padding
    oh = (size[0] + top + bottom - dilation[0] * (kernel[0] - 1) - 1) // stride[0] + 1
    ow = (size[1] + left + right - dilation[1] * (kernel[1] - 1) - 1) // stride[1] + 1
    return oh, ow


def check_filters(operation: str, weight: Array) -> None:
    """`ValueError` unless weight has four dimensions, none of them empty."""
    check.required(operation, "weight", weight)
    if weight.ndim != 4 or 0 in weight.shape:
        raise ValueError(f"{operation}: weight must have four dimensions, none empty, got {door.short(weight.shape)}")


def _check_channels(x_shape: tuple[int, ...], weight_shape: tuple[int, ...], groups: int) -> None:
    """`ValueError` where channels, filters and groups do not fit."""
    if weight_shape[1] * groups != x_shape[-3]:
        raise ValueError(
            f"conv2d: x must have {weight_shape[1] * groups} channels (weight.shape[1] · groups) to fit weight "
            f"{door.short(weight_shape)} and groups {groups}, got shape {door.short(x_shape)}"
        )
    if weight_shape[0] % groups:
        raise ValueError(f"conv2d: groups must divide the {weight_shape[0]} filters of weight, got {groups}")


def _padding(padding: Size | str, kernel: Pair, stride: Pair, dilation: Pair) -> tuple[int, int, int, int]:
    """(top, bottom, left, right)"""
    if isinstance(padding, str):
        if check.choice("conv2d", "padding", padding, ("valid", "same")) == "valid":
            return 0, 0, 0, 0
        if stride != (1, 1):
            raise ValueError(f'conv2d: padding "same" needs stride 1, got stride {stride}')
        total_h, total_w = dilation[0] * (kernel[0] - 1), dilation[1] * (kernel[1] - 1)
        return total_h // 2, total_h - total_h // 2, total_w // 2, total_w - total_w // 2
    pad_h, pad_w = check.pair("conv2d", "padding", padding, 0)
    return pad_h, pad_h, pad_w, pad_w


@lru_cache(maxsize=256)  # 0.4 µs instead of 5
def _check_output_size(x_shape, weight_shape, stride, padding, dilation) -> None:
    """`ValueError` where the kernel does not fit into the padded image, or the result not into memory."""
    N, C, H, W = x_shape
    padded = H + padding[0] + padding[1], W + padding[2] + padding[3]
    oh, ow = output_size((H, W), weight_shape[2:], stride, padding, dilation)
    if oh < 1 or ow < 1:
        raise ValueError(
            f"conv2d: weight must fit into the padded x of {door.short(padded)}, got a kernel of "
            f"{door.short(weight_shape[2:])} with dilation {door.short(dilation)}"
        )
    check.allocatable("conv2d", "y with this padding and dilation", (N, weight_shape[0], oh, ow))
    check.allocatable("conv2d", "x with this padding and dilation", (N, C, *padded))
