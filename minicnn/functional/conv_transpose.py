"""Transposed convolution: the gradient of a convolution with respect to its image, used as a layer.

Let conv be the convolution that takes an image of the size of y to one of the size of x. Then y = convᵀ(x), so that
forward is conv's input gradient, dx is conv's forward, and dweight is conv's with x and dy in each other's place.
"""

from typing import NamedTuple

import numpy as np

from ..backends.places import c_order
from . import check, door
from .check import Size
from .conv import Pair, check_filters, output_size

Array = np.ndarray


class ConvTranspose2dContext(NamedTuple):
    x: Array  # dweight = x @ im2col(dy).T
    weight: Array  # dx = weight @ im2col(dy)
    bias: Array | None  # None: there is no dbias
    out_size: Pair
    stride: Pair
    padding: Pair
    dilation: Pair
    groups: int


def conv_transpose2d(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    stride: Size = 1,
    padding: Size = 0,
    output_padding: Size = 0,
    groups: int = 1,
    dilation: Size = 1,
) -> tuple[Array, ConvTranspose2dContext | None]:
    """y[n, f, p·stride_h + i·dilation_h − padding_h, …] = bias[f] + Σ_{c, p, i, …} x[n, c, p, …] · weight[c, f, i, …]

    x: (N, C, H, W) or (C, H, W). weight: (C, F/groups, kh, kw). bias: (F,) or None. Sizes are ints or pairs.
    output_padding: rows and columns added to the lower and right side of y, smaller than stride or dilation.
    Returns y: (N, F, oh, ow) or (F, oh, ow), and the context, where
    oh = (H − 1)·stride − 2·padding + dilation·(kh − 1) + output_padding + 1.
    `ValueError` for shapes and sizes that do not fit, `TypeError` for other types and dtypes.

    >>> import numpy as np
    >>> y, ctx = conv_transpose2d(np.array([[[1.0, 2.0]]]), np.ones((1, 1, 1, 2)), stride=2)
    >>> y
    array([[[1., 1., 2., 2.]]])
    >>> dx, dweight, dbias = conv_transpose2d_backward(np.array([[[1.0, 2.0, 3.0, 4.0]]]), ctx)
    >>> dx, dweight
    (array([[[3., 7.]]]), array([[[[ 7., 10.]]]]))
    """
    name = "conv_transpose2d"
    backend = door.enter(name, x=x, weight=weight, bias=bias)
    images = check.images(name, x)
    check_filters(name, weight)
    stride, padding = check.pair(name, "stride", stride, 1), check.pair(name, "padding", padding, 0)
    added, dilation = check.pair(name, "output_padding", output_padding, 0), check.pair(name, "dilation", dilation, 1)
    groups = check.integer(name, "groups", groups, 1)
    if images.shape[1] != weight.shape[0]:
        raise ValueError(
            f"{name}: x must have {weight.shape[0]} channels (weight.shape[0]), got shape {door.short(x.shape)}"
        )
    if weight.shape[0] % groups:
        raise ValueError(f"{name}: groups must divide the {weight.shape[0]} channels of x, got {groups}")
    F = weight.shape[1] * groups
    if bias is not None:
        check.shape(name, "bias", bias, (F,), "weight.shape[1] · groups")
    out_size = _out_size(images.shape, weight.shape[2:], stride, padding, added, dilation)
    padded = out_size[0] + 2 * padding[0], out_size[1] + 2 * padding[1]
    check.allocatable(name, "y of this stride, dilation, padding and output_padding", (images.shape[0], F, *padded))

    ctx = ConvTranspose2dContext(x, weight, bias, out_size, stride, padding, dilation, groups)
    y_shape = (images.shape[0], F, *out_size)
    y = backend.conv2d_input_grad(_conv_output(images, ctx), weight, y_shape, *_conv_settings(ctx))
    if bias is not None:
        backend.add_channel_bias(y, bias)
    inputs = {
        "x": x, "weight": weight, "bias": bias, "stride": stride, "padding": padding, "output_padding": added,
        "groups": groups, "dilation": dilation,
    }  # fmt: skip
    return door.leave(name, inputs, y if x.ndim == 4 else y[0], ctx)


def conv_transpose2d_backward(
    dy: Array, ctx: ConvTranspose2dContext, *, needs: tuple[bool, bool, bool] = (True, True, True)
) -> tuple[Array | None, Array | None, Array | None]:
    """(dx, dweight, dbias), of the shapes of x, weight and bias; `needs` says which to compute, None for the rest."""
    name = "conv_transpose2d"
    door.check_context(name, ctx, ConvTranspose2dContext)
    x, weight, bias, out_size = ctx[:4]
    shape = (*x.shape[:-3], weight.shape[1] * ctx.groups, *out_size)
    backend = door.enter_backward(name, ctx, ConvTranspose2dContext, dy, shape, like=x)
    # forward: y = convᵀ(x), so dL/dx = conv(dL/dy)
    images, dy4 = (x, dy) if x.ndim == 4 else (x[None], dy[None])
    dx = dweight = None
    if needs[0]:
        whole = backend.conv2d_forward(dy4, weight, None, *_conv_settings(ctx))
        dx = c_order(whole[:, :, : x.shape[-2], : x.shape[-1]]).reshape(x.shape)
    if needs[1]:
        reached, settings = _reached(dy4, images, ctx)
        dweight = backend.conv2d_weight_grad(images, reached, weight.shape, *settings)
    dbias = backend.channel_sum(dy4) if needs[2] and bias is not None else None
    return door.leave_backward(name, ctx, dy, (dx, dweight, dbias))


def _conv_settings(ctx: ConvTranspose2dContext) -> tuple[Pair, tuple[int, int, int, int], Pair, int]:
    """(stride, padding, dilation, groups) of conv, padding as (top, bottom, left, right)."""
    pad_h, pad_w = ctx.padding
    return ctx.stride, (pad_h, pad_h, pad_w, pad_w), ctx.dilation, ctx.groups


def _conv_output(images: Array, ctx: ConvTranspose2dContext) -> Array:
    """x in the size of conv's output: with an output padding of a stride or more that is larger, by zeros."""
    stride, padding, dilation, _ = _conv_settings(ctx)
    oh, ow = output_size(ctx.out_size, ctx.weight.shape[2:], stride, padding, dilation)
    H, W = images.shape[2:]
    return images if (oh, ow) == (H, W) else np.pad(images, ((0, 0), (0, 0), (0, oh - H), (0, ow - W)))


def _reached(dy: Array, images: Array, ctx: ConvTranspose2dContext) -> tuple[Array, tuple]:
    """dy and conv's settings without the rows and columns that no pixel of x reaches (see `_conv_output`)."""
    stride, padding, dilation, groups = _conv_settings(ctx)
    oh, ow = output_size(ctx.out_size, ctx.weight.shape[2:], stride, padding, dilation)
    top, bottom, left, right = padding
    bottom -= (oh - images.shape[2]) * stride[0]
    right -= (ow - images.shape[3]) * stride[1]
    dy = dy[:, :, : dy.shape[2] + min(0, bottom), : dy.shape[3] + min(0, right)]
    return dy, (stride, (top, max(0, bottom), left, max(0, right)), dilation, groups)


def _out_size(x_shape, kernel, stride, padding, added, dilation) -> Pair:
    """(size − 1)·stride − 2·padding + dilation·(kernel − 1) + output_padding + 1, for both sides."""
    sizes = []
    for side in (0, 1):
        if added[side] >= max(stride[side], dilation[side]):
            raise ValueError(
                f"conv_transpose2d: output_padding must be smaller than stride {door.short(stride)} or dilation "
                f"{door.short(dilation)}, got {door.short(added)}"
            )
        reach = (x_shape[2 + side] - 1) * stride[side] + dilation[side] * (kernel[side] - 1) + added[side] + 1
        if reach - 2 * padding[side] < 1:
            raise ValueError(
                f"conv_transpose2d: padding must leave at least one pixel of the {reach} along a side, "
                f"got {door.short(padding)}"
            )
        sizes.append(reach - 2 * padding[side])
    return sizes[0], sizes[1]
