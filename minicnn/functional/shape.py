"""Operations that move values without changing them: flatten, pad, concat."""

import math
from collections.abc import Sequence
from functools import lru_cache, partial
from typing import NamedTuple

import numpy as np

from ..backends.places import c_order, copy_of, library
from . import check, door

Array = np.ndarray
Amounts = tuple[int, int, int, int]
PAD_MODES = ("constant", "reflect", "replicate", "circular")


class FlattenContext(NamedTuple):
    like: Array  # empty, of the dtype of x
    x_shape: tuple[int, ...]
    y_shape: tuple[int, ...]


class PadContext(NamedTuple):
    like: Array  # empty, of the dtype of x
    x_shape: tuple[int, ...]
    amounts: Amounts
    mode: str


class ConcatContext(NamedTuple):
    like: Array  # empty, of the dtype of the arrays
    shapes: tuple[tuple[int, ...], ...]  # of the arrays: where y is cut
    axis: int


def flatten(x: Array, start_axis: int = 1) -> tuple[Array, FlattenContext | None]:
    """y = x with the axes from start_axis on made one; a view of x where x is C-contiguous.

    `ValueError` where x has no such axis.

    >>> import numpy as np
    >>> y, ctx = flatten(np.zeros((2, 3, 4)))
    >>> y.shape, flatten_backward(np.ones((2, 12)), ctx).shape
    ((2, 12), (2, 3, 4))
    """
    door.enter("flatten", x=x)
    start = check.axis("flatten", "start_axis", start_axis, max(1, x.ndim))
    tail = math.prod(x.shape[start:])
    y = c_order(x).reshape(*x.shape[:start], tail)
    return door.leave("flatten", {"x": x, "start_axis": start}, y, FlattenContext(empty_like(x), x.shape, y.shape))


def flatten_backward(dy: Array, ctx: FlattenContext) -> Array:
    """dx = dy in the shape of x."""
    door.check_context("flatten", ctx, FlattenContext)
    door.enter_backward("flatten", ctx, FlattenContext, dy, ctx.y_shape, like=ctx.like)
    dx = copy_of(dy).reshape(ctx.x_shape)
    return door.leave_backward("flatten", ctx, dy, dx)


def pad(
    x: Array, amounts: Sequence[int], mode: str = "constant", value: float = 0.0
) -> tuple[Array, PadContext | None]:
    """y = x with amounts = (left, right, top, bottom) columns and rows added around each image.

    x: (N, C, H, W) or (C, H, W), with mode "constant" any rank from 2. Modes: "constant" adds `value`; "reflect"
    mirrors at the border pixel, which is not repeated (amounts below the size of x); "replicate" repeats it; "circular"
    continues with the other end (amounts up to the size of x). `ValueError` for amounts below 0 or too large.

    >>> import numpy as np
    >>> y, ctx = pad(np.array([[[1.0, 2.0, 3.0]]]), (2, 1, 0, 0), mode="reflect")
    >>> y
    array([[[3., 2., 1., 2., 3., 2.]]])
    >>> pad_backward(np.array([[[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]]]), ctx)
    array([[[ 3., 12.,  6.]]])
    """
    backend = door.enter("pad", x=x)
    mode = check.choice("pad", "mode", mode, PAD_MODES)
    amounts = _amounts(amounts)
    value = check.real("pad", "value", value)
    _check_pad(x, amounts, mode, value)
    left, right, top, bottom = amounts
    size = x.shape[-2] + top + bottom, x.shape[-1] + left + right
    check.allocatable("pad", "y of these amounts", (*x.shape[:-2], *size))
    if mode == "constant":
        y = backend.pad_forward(_planes(x), amounts, value)
    else:
        y = backend.take2d_forward(_planes(x), *_pad_sources(x.shape, amounts, mode))
    inputs = {"x": x, "amounts": amounts, "mode": mode, "value": value}
    ctx = PadContext(empty_like(x), x.shape, amounts, mode)
    return door.leave("pad", inputs, y.reshape(*x.shape[:-2], *size), ctx)


def pad_backward(dy: Array, ctx: PadContext) -> Array:
    """dx: each dy is added to the pixel that it was a copy of; dy of constants goes nowhere."""
    door.check_context("pad", ctx, PadContext)
    like, x_shape, amounts, mode = ctx
    left, right, top, bottom = amounts
    shape = (*x_shape[:-2], x_shape[-2] + top + bottom, x_shape[-1] + left + right)
    backend = door.enter_backward("pad", ctx, PadContext, dy, shape, like=like)
    planes = _planes(dy)
    planes_shape = (len(planes), *x_shape[-2:])
    if mode == "constant":
        dx = backend.pad_input_grad(planes, planes_shape, amounts)
    else:
        dx = backend.take2d_input_grad(planes, planes_shape, *_pad_sources(x_shape, amounts, mode))
    return door.leave_backward("pad", ctx, dy, dx.reshape(x_shape))


def concat(arrays: Sequence[Array], axis: int = 1) -> tuple[Array, ConcatContext | None]:
    """y = the arrays one behind the other along `axis`; their other sizes are equal.

    arrays: a list or tuple of at least one array. `ValueError` for shapes that do not fit.

    >>> import numpy as np
    >>> y, ctx = concat([np.zeros((1, 2)), np.ones((1, 1))])
    >>> y
    array([[0., 0., 1.]])
    >>> concat_backward(np.array([[5.0, 6.0, 7.0]]), ctx)
    (array([[5., 6.]]), array([[7.]]))
    """
    if not isinstance(arrays, (list, tuple)):
        raise TypeError(f"concat: arrays must be a list or tuple of arrays, got {door.describe(arrays)}")
    if not arrays:
        raise ValueError("concat: arrays must hold at least one array, got none")
    for i, array in enumerate(arrays):
        if array is None:
            raise TypeError(f"concat: arrays[{i}] must be an array, got None")
    backend = door.enter("concat", **{f"arrays[{i}]": array for i, array in enumerate(arrays)})
    first = arrays[0].shape
    axis = check.axis("concat", "axis", axis, arrays[0].ndim)
    for i, array in enumerate(arrays):
        if array.ndim != len(first) or array.shape[:axis] + array.shape[axis + 1 :] != first[:axis] + first[axis + 1 :]:
            raise ValueError(
                f"concat: arrays[{i}] must have the shape {door.short(first)} of arrays[0], axis {axis} apart, "
                f"got {door.short(array.shape)}"
            )
    y = backend.concat_forward(arrays, axis)
    ctx = ConcatContext(empty_like(arrays[0]), tuple(array.shape for array in arrays), axis)
    return door.leave("concat", {"arrays": list(arrays), "axis": axis}, y, ctx)


def concat_backward(dy: Array, ctx: ConcatContext) -> tuple[Array, ...]:
    """The parts of dy, one an input."""
    door.check_context("concat", ctx, ConcatContext)
    like, shapes, axis = ctx
    sizes = [shape[axis] for shape in shapes]
    shape = (*shapes[0][:axis], sum(sizes), *shapes[0][axis + 1 :])
    backend = door.enter_backward("concat", ctx, ConcatContext, dy, shape, like=like)
    return door.leave_backward("concat", ctx, dy, backend.concat_backward(dy, sizes, axis))


def empty_like(x: Array) -> Array:
    """An array without elements that stands in a context for the dtype of x."""
    return _nothing(x.dtype) if isinstance(x, np.ndarray) else library(x).empty(0, x.dtype)


_nothing = lru_cache(maxsize=16)(partial(np.empty, 0))  # one for all, since it has nothing that could be changed


def _planes(x: Array) -> Array:
    """x as (P, H, W)."""
    return x.reshape(math.prod(x.shape[:-2]), *x.shape[-2:])


def _amounts(amounts: Sequence[int]) -> Amounts:
    if not check.is_sequence(amounts):
        raise TypeError(f"pad: amounts must be (left, right, top, bottom), got {door.describe(amounts)}")
    if len(amounts) != 4:
        raise ValueError(f"pad: amounts must be (left, right, top, bottom), got {door.short(amounts)}")
    left, right, top, bottom = (check.integer("pad", "amounts", amount, 0) for amount in amounts)
    return left, right, top, bottom


def _check_pad(x: Array, amounts: Amounts, mode: str, value: float) -> None:
    """What the modes ask of x, amounts and value."""
    if mode == "constant":
        if x.ndim < 2:
            raise ValueError(f"pad: x must be (…, H, W), got shape {door.short(x.shape)}")
        if np.isfinite(value) and abs(value) > float(np.finfo(x.dtype).max):
            raise ValueError(f"pad: value must fit {x.dtype}, got {value}")
        return
    if value != 0.0:
        raise ValueError(f'pad: value must be left out with mode "{mode}", got {value}')
    check.images("pad", x)
    H, W = x.shape[-2:]
    left, right, top, bottom = amounts
    over = {"reflect": 1, "circular": 0}.get(mode)
    if over is not None and (max(left, right) > W - over or max(top, bottom) > H - over):
        raise ValueError(
            f'pad: amounts must be {"below" if over else "at most"} (H, W) = {(H, W)} of x with mode "{mode}", '
            f"got (left, right, top, bottom) = {door.short(amounts)}"
        )


def _pad_sources(x_shape: tuple[int, ...], amounts: Amounts, mode: str) -> tuple[Array, Array]:
    """The row and the column of x that each row and column of y is a copy of."""
    left, right, top, bottom = amounts
    return _source(x_shape[-2], top, bottom, mode), _source(x_shape[-1], left, right, mode)


def _source(size: int, before: int, after: int, mode: str) -> Array:
    place = np.arange(-before, size + after)
    if mode == "reflect":
        place = np.abs(place)
        return np.where(place < size, place, 2 * (size - 1) - place)
    return place % size if mode == "circular" else np.clip(place, 0, size - 1)
