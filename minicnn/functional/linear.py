"""The fully connected layer: y = x @ weight.T + bias."""

from typing import NamedTuple

import numpy as np

from . import check, door

Array = np.ndarray


class LinearContext(NamedTuple):
    x: Array  # dweight = dy.T @ x
    weight: Array  # dx = dy @ weight
    bias: Array | None  # None: there is no dbias


def linear(x: Array, weight: Array, bias: Array | None = None) -> tuple[Array, LinearContext | None]:
    """y[..., o] = Σ_i x[..., i] · weight[o, i] + bias[o]

    x: (..., in), of any rank ≥ 1. weight: (out, in). bias: (out,) or None. Returns y: (..., out) and the context.
    `ValueError` for shapes that do not fit, `TypeError` for other dtypes.

    >>> import numpy as np
    >>> y, ctx = linear(np.array([[1.0, 2.0]]), np.array([[3.0, 4.0]]), np.array([0.5]))
    >>> y
    array([[11.5]])
    >>> dx, dweight, dbias = linear_backward(np.array([[10.0]]), ctx)
    >>> dx, dweight, dbias
    (array([[30., 40.]]), array([[10., 20.]]), array([10.]))
    """
    backend = door.enter("linear", x=x, weight=weight, bias=bias)
    check.rank("linear", "weight", weight, (2,), "(out, in)")
    outputs, inputs = weight.shape
    if x.ndim < 1 or x.shape[-1] != inputs:
        raise ValueError(f"linear: x must be (..., {inputs}) to fit weight {weight.shape}, got {door.short(x.shape)}")
    if bias is not None:
        check.shape("linear", "bias", bias, (outputs,), "one a row of weight")
    y = backend.linear_forward(rows(x), weight, bias).reshape(*x.shape[:-1], outputs)
    return door.leave("linear", {"x": x, "weight": weight, "bias": bias}, y, LinearContext(x, weight, bias))


def linear_backward(
    dy: Array, ctx: LinearContext, *, needs: tuple[bool, bool, bool] = (True, True, True)
) -> tuple[Array | None, Array | None, Array | None]:
    """(dx, dweight, dbias) = (dy @ weight, dy.T @ x, Σ dy); `needs` says which to compute, None for the rest."""
    door.check_context("linear", ctx, LinearContext)
    x, weight, bias = ctx
    shape = (*x.shape[:-1], weight.shape[0])
    backend = door.enter_backward("linear", ctx, LinearContext, dy, shape, like=x)
    dy_rows = rows(dy)
    dx = backend.linear_input_grad(dy_rows, weight).reshape(x.shape) if needs[0] else None
    dweight = backend.linear_weight_grad(dy_rows, rows(x)) if needs[1] else None
    dbias = backend.channel_sum(dy_rows) if needs[2] and bias is not None else None
    return door.leave_backward("linear", ctx, dy, (dx, dweight, dbias))


def rows(x: Array) -> Array:
    """(..., n) as a matrix (M, n), also where M is 0."""
    return x if x.ndim == 2 else x.reshape(int(np.prod(x.shape[:-1])), x.shape[-1])
