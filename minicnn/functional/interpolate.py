"""Resizing images: nearest and bilinear interpolation."""

import math
from typing import Any, NamedTuple

import numpy as np

from . import check, door
from .check import Size
from .shape import empty_like

Array = np.ndarray
Pair = tuple[int, int]


class Blend(NamedTuple):
    """y[p] = (1 − share[p]) · x[low[p]] + share[p] · x[high[p]], along one side."""

    low: Array  # int64
    high: Array  # int64
    share: Array  # of the dtype of x


class InterpolateContext(NamedTuple):
    like: Array  # empty, of the dtype of x
    x_shape: tuple[int, ...]
    mode: str
    rows: Array | Blend  # where each row of y comes from: "nearest" the row of x, "bilinear" two and their shares
    columns: Array | Blend  # likewise


def interpolate(
    x: Array,
    size: Size | None = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool = False,
) -> tuple[Array, InterpolateContext | None]:
    """y = x resized to `size`, or to floor(H·scale_factor) rows and floor(W·scale_factor) columns.

    x: (N, C, H, W); one image needs its batch axis, as in torch. Returns y: (N, C, oh, ow), and the context.
    Give either size, an int or a pair, or scale_factor, a number or a pair. With step = 1/scale_factor, else H/oh,
    row p of y lies at row p·step of x ("nearest", rounded down) or (p + ½)·step − ½ ("bilinear", blended from the two
    rows around it); with align_corners at p·(H − 1)/(oh − 1) (bilinear only). `ValueError` for sizes that do not fit.

    >>> import numpy as np
    >>> y, ctx = interpolate(np.array([[[[1.0, 2.0]]]]), scale_factor=(1, 2), mode="bilinear")
    >>> y
    array([[[[1.  , 1.25, 1.75, 2.  ]]]])
    >>> interpolate_backward(np.array([[[[4.0, 4.0, 8.0, 8.0]]]]), ctx)
    array([[[[ 9., 15.]]]])
    """
    backend = door.enter("interpolate", x=x)
    check.rank("interpolate", "x", x, (4,), "(N, C, H, W)")
    check.images("interpolate", x)
    mode = check.choice("interpolate", "mode", mode, ("nearest", "bilinear"))
    align_corners = check.flag("interpolate", "align_corners", align_corners)
    if align_corners and mode == "nearest":
        raise ValueError('interpolate: align_corners must be False with mode "nearest", got True')
    out_size, scales = _out_size(x.shape[2:], size, scale_factor)
    check.allocatable("interpolate", "y of this size or scale_factor", (*x.shape[:2], *out_size))
    rows: Any
    columns: Any
    if mode == "nearest":
        rows, columns = (_nearest(x.shape[2 + s], out_size[s], scales[s]) for s in (0, 1))
        y = backend.take2d_forward(_planes(x), rows, columns)
    else:
        rows, columns = (_bilinear(x.shape[2 + s], out_size[s], scales[s], align_corners, x.dtype) for s in (0, 1))
        y = backend.blend2d_forward(_planes(x), rows, columns)
    inputs = {"x": x, "size": size, "scale_factor": scale_factor, "mode": mode, "align_corners": align_corners}
    ctx = InterpolateContext(empty_like(x), x.shape, mode, rows, columns)
    return door.leave("interpolate", inputs, y.reshape(*x.shape[:-2], *out_size), ctx)


def interpolate_backward(dy: Array, ctx: InterpolateContext) -> Array:
    """dx: each dy is added to the pixels that it was made of, by their shares."""
    door.check_context("interpolate", ctx, InterpolateContext)
    like, x_shape, mode, rows, columns = ctx
    bilinear = mode == "bilinear"
    out_size = tuple(len(source.low) if isinstance(source, Blend) else len(source) for source in (rows, columns))
    shape = (*x_shape[:-2], *out_size)
    backend = door.enter_backward("interpolate", ctx, InterpolateContext, dy, shape, like=like)
    planes = _planes(dy)
    input_grad = backend.blend2d_input_grad if bilinear else backend.take2d_input_grad
    dx = input_grad(planes, (len(planes), *x_shape[-2:]), rows, columns)
    return door.leave_backward("interpolate", ctx, dy, dx.reshape(x_shape))


def _planes(images: Array) -> Array:
    """(N, C, H, W) as (P, H, W)."""
    return images.reshape(images.shape[0] * images.shape[1], *images.shape[2:])


def _out_size(in_size: Pair, size: Any, scale_factor: Any) -> tuple[Pair, tuple[float | None, float | None]]:
    """The size of y, and for both sides the given scale or None."""
    if (size is None) == (scale_factor is None):
        given = "neither" if size is None else "both"
        raise ValueError(f"interpolate: give either size or scale_factor, got {given}")
    if size is not None:
        return check.pair("interpolate", "size", size, 1), (None, None)
    pair = check.is_sequence(scale_factor)
    if pair and len(scale_factor) != 2:
        raise ValueError(f"interpolate: scale_factor must be a number or a pair, got {door.short(scale_factor)}")
    scale_h, scale_w = (
        check.real("interpolate", "scale_factor", s) for s in (scale_factor if pair else [scale_factor] * 2)
    )
    sizes = []
    for side, scale in zip(in_size, (scale_h, scale_w)):
        if not (math.isfinite(side * scale) and 1 <= side * scale <= check.LARGEST):
            raise ValueError(
                f"interpolate: scale_factor must give y at least one row and column (x has {in_size}), "
                f"got {door.short(scale_factor)}"
            )
        sizes.append(math.floor(side * scale))
    return (sizes[0], sizes[1]), (scale_h, scale_w)


def _nearest(size: int, count: int, scale: float | None) -> Array:
    """The source of each of `count` positions: floor(p·step), in float32 as torch computes it for every dtype."""
    if count == size:
        return np.arange(count)
    if count == 2 * size:
        return np.arange(count) // 2
    step = np.float32(1.0 / scale) if scale else np.float32(size) / np.float32(count)
    return np.minimum(np.floor(np.arange(count, dtype=np.float32) * step).astype(np.int64), size - 1)


def _bilinear(size: int, count: int, scale: float | None, align_corners: bool, dtype) -> Blend:
    """The two sources of each of `count` positions, and the share of the second."""
    position = np.arange(count)
    if count == size:
        return Blend(position, position, np.zeros(count, dtype))
    if align_corners:
        place = position * ((size - 1) / (count - 1) if count > 1 else 0.0)
    else:
        step = 1.0 / scale if scale else size / count
        place = np.maximum((position + 0.5) * step - 0.5, 0.0)
    low = np.minimum(np.floor(place).astype(np.int64), size - 1)
    share = np.clip(place - low, 0.0, 1.0)
    return Blend(low, np.minimum(low + 1, size - 1), share.astype(dtype))
