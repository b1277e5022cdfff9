"""Batch normalisation."""

import math
from typing import NamedTuple

import numpy as np

from ..backends.places import writable
from . import check, door

Array = np.ndarray


class BatchNormContext(NamedTuple):
    x: Array  # the normalised x is remade from it: two operations a value against a copy of x
    weight: Array | None  # scales the gradient
    bias: Array | None  # None: there is no dbias
    mean: Array  # (C,): of the batch when training, else the running one
    var: Array  # (C,): the biased variance of the batch when training, else the running one
    training: bool  # whether mean and var depend on x
    eps: float


def batch_norm(
    x: Array,
    running_mean: Array | None,
    running_var: Array | None,
    weight: Array | None = None,
    bias: Array | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> tuple[Array, BatchNormContext | None]:
    """y[:, c] = (x[:, c] − mean[c]) / √(var[c] + eps) · weight[c] + bias[c]   (Ioffe & Szegedy 2015, algorithm 1)

    x: (N, C) or (N, C, …), channels on axis 1. weight, bias, running_mean, running_var: (C,), or None (the running
    ones only both at once, and only when training). Training: mean and (biased) variance are those of the batch, and
    the running ones move in place, `new = (1 − momentum) · old + momentum · batch`, the variance by the unbiased one.
    Else the running ones normalise. N = 0 gives an empty y and leaves the running ones alone.
    momentum: 0 to 1. eps: above 0 when training, else at least 0.
    `ValueError` for shapes that do not fit, one value a channel when training, or read-only running arrays.

    >>> import numpy as np
    >>> mean, var = np.zeros(1), np.ones(1)
    >>> y, ctx = batch_norm(np.array([[1.0], [3.0]]), mean, var, training=True, eps=1e-12)
    >>> y.round(4), mean, var
    (array([[-1.],
           [ 1.]]), array([0.2]), array([1.1]))
    >>> dx, dweight, dbias = batch_norm_backward(np.array([[1.0], [3.0]]), ctx)
    >>> bool(abs(dx).max() < 1e-9), dweight, dbias
    (True, None, None)
    """
    name = "batch_norm"
    backend = door.enter(name, x=x, running_mean=running_mean, running_var=running_var, weight=weight, bias=bias)
    training = check.flag(name, "training", training)
    momentum = check.real(name, "momentum", momentum)
    eps = check.real(name, "eps", eps)
    _check_batch_norm(x, running_mean, running_var, weight, bias, training, momentum, eps)
    planes = _planes(x)
    if not training:
        mean, var = running_mean, running_var
        y = backend.batch_norm_eval_forward(planes, mean, var, weight, bias, eps)
    else:
        y, mean, var = backend.batch_norm_train_forward(planes, weight, bias, eps)
        _move(backend, running_mean, running_var, mean, var, momentum, x)
    inputs = {
        "x": x, "running_mean": running_mean, "running_var": running_var, "weight": weight, "bias": bias,
        "training": training, "momentum": momentum, "eps": eps,
    }  # fmt: skip
    ctx = BatchNormContext(x, weight, bias, mean, var, training, eps)
    return door.leave(name, inputs, y.reshape(x.shape), ctx)


def batch_norm_backward(
    dy: Array, ctx: BatchNormContext, *, needs: tuple[bool, bool, bool] = (True, True, True)
) -> tuple[Array | None, Array | None, Array | None]:
    """(dx, dweight, dbias); `needs` says which to return, None for the rest. With x̂ the normalised x, over N values:

    dweight = Σ dy · x̂, dbias = Σ dy, dx = weight / √(var + eps) · (dy − Σ dy / N − x̂ · Σ (dy · x̂) / N), where the
    two sums in dx are left out if the running statistics normalised.
    """
    door.check_context("batch_norm", ctx, BatchNormContext)
    x, weight, bias, mean, var, training, eps = ctx
    backend = door.enter_backward("batch_norm", ctx, BatchNormContext, dy, x.shape, like=x)
    backward = backend.batch_norm_train_backward if training else backend.batch_norm_eval_backward
    dx, dweight, dbias = backward(_planes(dy), _planes(x), weight, mean, var, eps)
    gradients = (
        dx.reshape(x.shape) if needs[0] else None,
        dweight if needs[1] and weight is not None else None,
        dbias if needs[2] and bias is not None else None,
    )
    return door.leave_backward("batch_norm", ctx, dy, gradients)


def batch_norm_relu(
    x: Array, residual: Array | None, running_mean: Array | None, running_var: Array | None, weight: Array | None,
    bias: Array | None, momentum: float, eps: float,
) -> tuple[Array, BatchNormContext]:  # fmt: skip
    """y = relu(batch_norm(x, training=True) + residual) in one pass, to the bit what the three give one by one.

    Not one of the operations that a listener hears of: `nn.fused` takes it where nobody listens. residual: None, or an
    array like x (which the caller has checked). The context is that of the batch norm; the ReLU's needs y alone, since
    y ≤ 0 exactly where its input was.
    """
    name = "batch_norm"
    backend = door.enter(name, x=x, running_mean=running_mean, running_var=running_var, weight=weight, bias=bias)
    _check_batch_norm(x, running_mean, running_var, weight, bias, True, momentum, eps)
    other = None if residual is None else _planes(residual)
    y, mean, var = backend.batch_norm_relu_forward(_planes(x), other, weight, bias, eps)
    _move(backend, running_mean, running_var, mean, var, momentum, x)
    return y.reshape(x.shape), BatchNormContext(x, weight, bias, mean, var, True, eps)


def batch_norm_relu_backward(
    dy: Array, y: Array, ctx: BatchNormContext, wanted: bool, *, needs: tuple[bool, bool, bool]
) -> tuple[Array | None, Array | None, Array | None, Array | None]:
    """(dx, dweight, dbias, dresidual), the last None unless wanted; y is what the forward returned."""
    x, weight, bias, mean, var, _, eps = ctx
    backend = door.enter_backward("relu", ctx, BatchNormContext, dy, x.shape, like=x)
    found = backend.batch_norm_relu_backward(_planes(dy), _planes(y), _planes(x), weight, mean, var, eps, wanted)
    dx, dweight, dbias, dresidual = found
    return (
        dx.reshape(x.shape) if needs[0] else None,
        dweight if needs[1] and weight is not None else None,
        dbias if needs[2] and bias is not None else None,
        dresidual.reshape(x.shape) if wanted else None,
    )


def _move(backend, running_mean, running_var, mean, var, momentum, x):
    """The running statistics by those of the batch, in place."""
    if running_mean is not None and x.size:
        values = x.size // x.shape[1]  # a channel
        backend.batch_norm_move(running_mean, running_var, mean, var, momentum, values / (values - 1))


def _check_batch_norm(x, running_mean, running_var, weight, bias, training, momentum, eps):
    """The checks of shapes and ranges, all of them before anything changes."""
    if x.ndim < 2:
        raise ValueError(f"batch_norm: x must be (N, C) or (N, C, …), got shape {door.short(x.shape)}")
    channels = x.shape[1]
    for name, array, moves in (
        ("running_mean", running_mean, True), ("running_var", running_var, True),
        ("weight", weight, False), ("bias", bias, False),
    ):  # fmt: skip
        if array is not None:
            if array.shape != (channels,):
                check.shape("batch_norm", name, array, (channels,), "one a channel of x")
            if moves and training and not writable(array):
                raise ValueError(f"batch_norm: {name} must be writable when training, got a read-only array")
        elif moves and not (training and running_mean is running_var):
            raise ValueError(f"batch_norm: {name} must be an array (both may be None when training), got None")
    if not 0.0 <= momentum <= 1.0:
        raise ValueError(f"batch_norm: momentum must be 0 to 1, got {momentum}")
    if not (eps > 0.0 if training else eps >= 0.0) or math.isinf(eps):
        raise ValueError(f"batch_norm: eps must be {'above 0' if training else 'at least 0'} and finite, got {eps}")
    if training and x.size and x.size == channels:
        raise ValueError(
            f"batch_norm: x must have more than one value a channel when training, got shape {door.short(x.shape)}"
        )


def _planes(x: Array) -> Array:
    """(N, C, …) as (N, C, L)."""
    return x.reshape(x.shape[0], x.shape[1], math.prod(x.shape[2:]))
