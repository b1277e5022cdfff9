"""Softmax and its logarithm."""

from typing import NamedTuple

import numpy as np

from . import check, door

Array = np.ndarray


class SoftmaxContext(NamedTuple):
    x: Array  # y is remade from it
    axis: int


def softmax(x: Array, axis: int = -1) -> tuple[Array, SoftmaxContext | None]:
    """y_i = exp(x_i) / Σ_j exp(x_j) along `axis`, for every x without overflow.

    x: any shape, a single number being a row of one. A row that holds NaN or +inf, or −inf alone, is NaN.
    `ValueError` for an axis out of range.

    >>> import numpy as np
    >>> y, ctx = softmax(np.array([[0.0, 1e4], [1.0, 1.0]]))
    >>> y
    array([[0. , 1. ],
           [0.5, 0.5]])
    >>> softmax_backward(np.array([[1.0, 0.0], [1.0, 0.0]]), ctx)
    array([[ 0.  ,  0.  ],
           [ 0.25, -0.25]])
    """
    backend = door.enter("softmax", x=x)
    axis = check.axis("softmax", "axis", axis, max(1, x.ndim))
    y = backend.softmax_forward(_row(x), axis).reshape(x.shape)
    return door.leave("softmax", {"x": x, "axis": axis}, y, SoftmaxContext(x, axis))


def softmax_backward(dy: Array, ctx: SoftmaxContext) -> Array:
    """dx_i = y_i · (dy_i − Σ_j dy_j · y_j)"""
    door.check_context("softmax", ctx, SoftmaxContext)
    backend = door.enter_backward("softmax", ctx, SoftmaxContext, dy, ctx.x.shape, like=ctx.x)
    dx = backend.softmax_backward(_row(dy), _row(ctx.x), ctx.axis).reshape(ctx.x.shape)
    return door.leave_backward("softmax", ctx, dy, dx)


class LogSoftmaxContext(NamedTuple):
    x: Array  # softmax(x) is made from it
    axis: int


def log_softmax(x: Array, axis: int = -1) -> tuple[Array, LogSoftmaxContext | None]:
    """y_i = x_i − log Σ_j exp(x_j) along `axis`, for every x without overflow.

    x: any shape, a single number being a row of one. A row that holds NaN or +inf, or −inf alone, is NaN.
    `ValueError` for an axis out of range.

    >>> import numpy as np
    >>> y, ctx = log_softmax(np.array([0.0, np.log(3.0)]))
    >>> np.exp(y).round(4)
    array([0.25, 0.75])
    >>> log_softmax_backward(np.array([1.0, 0.0]), ctx).round(4)
    array([ 0.75, -0.75])
    """
    backend = door.enter("log_softmax", x=x)
    axis = check.axis("log_softmax", "axis", axis, max(1, x.ndim))
    y = backend.log_softmax_forward(_row(x), axis).reshape(x.shape)
    return door.leave("log_softmax", {"x": x, "axis": axis}, y, LogSoftmaxContext(x, axis))


def log_softmax_backward(dy: Array, ctx: LogSoftmaxContext) -> Array:
    """dx_i = dy_i − softmax(x)_i · Σ_j dy_j"""
    door.check_context("log_softmax", ctx, LogSoftmaxContext)
    backend = door.enter_backward("log_softmax", ctx, LogSoftmaxContext, dy, ctx.x.shape, like=ctx.x)
    dx = backend.log_softmax_backward(_row(dy), _row(ctx.x), ctx.axis).reshape(ctx.x.shape)
    return door.leave_backward("log_softmax", ctx, dy, dx)


def _row(x: Array) -> Array:
    """x, a 0-d array as a row of one."""
    return x.reshape(1) if x.ndim == 0 else x
