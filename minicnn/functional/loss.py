"""Losses: how far a prediction is from its target, as one number or one a position."""

import math
from typing import Any, NamedTuple

import numpy as np

from ..backends.few_numbers import SHORT, holds
from ..backends.places import c_order, is_array, library
from ..backends.settings import recording
from . import check, door

Array = np.ndarray
REDUCTIONS = ("mean", "sum", "none")


class CrossEntropyContext(NamedTuple):
    logits: Array  # the softmax is remade from them: cheaper than keeping it
    target: Array  # which class each position should be
    weight: Array | None  # scales the classes
    ignore_index: int
    reduction: str
    label_smoothing: float
    divisor: Any  # of the mean: the summed weights of the targets that count, a number or 0-d array


def cross_entropy(
    logits: Array,
    target: Array,
    weight: Array | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> tuple[Any, CrossEntropyContext | None]:
    """loss_n = −Σ_c weight[c] · q[n, c] · log softmax(logits)[n, c]

    logits: (N, C), (C,) or (N, C, d1, …), any real numbers. target: class indices, an integer array of the shape of
    logits without C, or class probabilities, floating and of the shape of logits. q is the target as a distribution,
    (1 − label_smoothing) · (one-hot or given) + label_smoothing / C. weight: (C,) or None.
    Positions whose index is `ignore_index` count nothing (not for probabilities, where it must stay negative).
    reduction: "none" gives the losses, "sum" their sum, "mean" divides it by Σ_n weight[target_n] over the indices
    that count, or by the number of positions for probabilities. With every target ignored the mean is NaN, its
    gradient 0. Returns (loss, ctx), the loss a NumPy scalar of the dtype of logits.
    `IndexError` for a class out of range.

    >>> import numpy as np
    >>> loss, ctx = cross_entropy(np.array([[2.0, 0.0], [0.0, 0.0]]), np.array([0, 1]))
    >>> round(float(loss), 4)
    0.41
    >>> cross_entropy_backward(1.0, ctx).round(4)
    array([[-0.0596,  0.0596],
           [ 0.25  , -0.25  ]])
    """
    name = "cross_entropy"
    backend = door.enter(name, logits=logits, weight=weight)
    classes = _classes(name, "logits", logits)
    ignore_index = check.integer(name, "ignore_index", ignore_index)
    reduction = check.choice(name, "reduction", reduction, REDUCTIONS)
    label_smoothing = check.real(name, "label_smoothing", label_smoothing)
    if not 0.0 <= label_smoothing <= 1.0:
        raise ValueError(f"{name}: label_smoothing must be 0 to 1, got {label_smoothing}")
    if weight is not None:
        check.shape(name, "weight", weight, (classes,), "one a class")
    positions = _targets(name, logits, target, ignore_index)
    losses, weights = backend.cross_entropy_forward(_planes(logits), positions, weight, ignore_index, label_smoothing)
    loss, divisor = _reduced(backend, losses, weights, reduction, _loss_shape(logits, "none"))
    inputs = {
        "logits": logits, "target": target, "weight": weight, "ignore_index": ignore_index,
        "reduction": reduction, "label_smoothing": label_smoothing,
    }  # fmt: skip
    ctx = CrossEntropyContext(logits, target, weight, ignore_index, reduction, label_smoothing, divisor)
    return door.leave(name, inputs, loss, ctx)


def cross_entropy_backward(dy: Any, ctx: CrossEntropyContext) -> Array:
    """dlogits[n, c] = dy_n · (softmax(logits)[n, c] · Σ_k weight[k] q[n, k] − weight[c] q[n, c])

    dy: a number for "mean" (where dy_n is dy / divisor) and "sum", an array of the shape of the loss for "none".
    """
    name = "cross_entropy"
    door.check_context(name, ctx, CrossEntropyContext)
    logits, target, weight, ignore_index, reduction, label_smoothing, divisor = ctx
    dy = _upstream(name, dy, reduction, logits)
    shape = _loss_shape(logits, reduction)
    backend = door.enter_backward(name, ctx, CrossEntropyContext, dy, shape, like=logits)
    positions = _targets(name, logits, target, ignore_index)
    scale = _scale(backend, dy, reduction, divisor, logits)
    dlogits = backend.cross_entropy_backward(
        scale, _planes(logits), positions, weight, ignore_index, label_smoothing
    ).reshape(logits.shape)
    return door.leave_backward(name, ctx, dy, dlogits)


class NllLossContext(NamedTuple):
    log_probs: Array  # its shape and dtype are those of the gradient
    target: Array  # where the gradient is not 0
    weight: Array | None
    ignore_index: int
    reduction: str
    divisor: Any  # of the mean: the summed weights of the targets that count, a number or 0-d array


def nll_loss(
    log_probs: Array, target: Array, weight: Array | None = None, ignore_index: int = -100, reduction: str = "mean"
) -> tuple[Any, NllLossContext | None]:
    """loss_n = −weight[target_n] · log_probs[n, target_n]

    The second half of `cross_entropy`, for what `log_softmax` returned. Shapes, reductions and errors are the same;
    the target holds class indices.

    >>> import numpy as np
    >>> loss, ctx = nll_loss(np.log(np.array([[0.5, 0.5], [0.25, 0.75]])), np.array([0, 1]), reduction="none")
    >>> loss.round(4)
    array([0.6931, 0.2877])
    >>> nll_loss_backward(np.array([1.0, 10.0]), ctx)
    array([[ -1.,   0.],
           [  0., -10.]])
    """
    name = "nll_loss"
    backend = door.enter(name, log_probs=log_probs, weight=weight)
    classes = _classes(name, "log_probs", log_probs)
    ignore_index = check.integer(name, "ignore_index", ignore_index)
    reduction = check.choice(name, "reduction", reduction, REDUCTIONS)
    if weight is not None:
        check.shape(name, "weight", weight, (classes,), "one a class")
    positions = _class_indices(name, log_probs, target, ignore_index)
    losses, weights = backend.nll_loss_forward(_planes(log_probs), positions, weight, ignore_index)
    loss, divisor = _reduced(backend, losses, weights, reduction, _loss_shape(log_probs, "none"))
    inputs = {
        "log_probs": log_probs, "target": target, "weight": weight, "ignore_index": ignore_index,
        "reduction": reduction,
    }  # fmt: skip
    return door.leave(name, inputs, loss, NllLossContext(log_probs, target, weight, ignore_index, reduction, divisor))


def nll_loss_backward(dy: Any, ctx: NllLossContext) -> Array:
    """dx[n, c] = −dy_n · weight[c] where c is target_n, else 0; dy as in `cross_entropy_backward`."""
    name = "nll_loss"
    door.check_context(name, ctx, NllLossContext)
    log_probs, target, weight, ignore_index, reduction, divisor = ctx
    dy = _upstream(name, dy, reduction, log_probs)
    shape = _loss_shape(log_probs, reduction)
    backend = door.enter_backward(name, ctx, NllLossContext, dy, shape, like=log_probs)
    positions = _class_indices(name, log_probs, target, ignore_index)
    scale = _scale(backend, dy, reduction, divisor, log_probs)
    dx = backend.nll_loss_backward(scale, _planes(log_probs).shape, positions, weight, ignore_index)
    return door.leave_backward(name, ctx, dy, dx.reshape(log_probs.shape))


class MseLossContext(NamedTuple):
    x: Array  # dx = 2 · (x − target)
    target: Array
    reduction: str


def mse_loss(x: Array, target: Array, reduction: str = "mean") -> tuple[Any, MseLossContext | None]:
    """loss = (x − target)²

    x and target: equal shapes and dtypes. reduction: "mean" (over all values), "sum" or "none".

    >>> import numpy as np
    >>> loss, ctx = mse_loss(np.array([1.0, 2.0]), np.array([1.0, 5.0]))
    >>> float(loss)
    4.5
    >>> mse_loss_backward(1.0, ctx)
    array([ 0., -3.])
    """
    backend, reduction = _enter_pair("mse_loss", x, target, reduction)
    loss, _ = _reduced(backend, backend.mse_loss_forward(x, target), x.size, reduction, x.shape)
    inputs = {"x": x, "target": target, "reduction": reduction}
    return door.leave("mse_loss", inputs, loss, MseLossContext(x, target, reduction))


def mse_loss_backward(dy: Any, ctx: MseLossContext) -> Array:
    """dx = 2 · (x − target) · dy, divided by the number of values for "mean"."""
    door.check_context("mse_loss", ctx, MseLossContext)
    x, target, reduction = ctx
    dy = _upstream("mse_loss", dy, reduction, x)
    shape = x.shape if reduction == "none" else ()
    backend = door.enter_backward("mse_loss", ctx, MseLossContext, dy, shape, like=x)
    dx = backend.mse_loss_backward(_per_value(dy, reduction, x), x, target)
    return door.leave_backward("mse_loss", ctx, dy, dx)


class BceWithLogitsContext(NamedTuple):
    x: Array  # the sigmoid is remade from it
    target: Array
    reduction: str


def binary_cross_entropy_with_logits(
    x: Array, target: Array, reduction: str = "mean"
) -> tuple[Any, BceWithLogitsContext | None]:
    """loss = −target · log σ(x) − (1 − target) · log(1 − σ(x)), stable for every x

    x and target: equal shapes and dtypes, the targets probabilities. reduction: "mean" (over all values), "sum" or
    "none".

    >>> import numpy as np
    >>> loss, ctx = binary_cross_entropy_with_logits(np.array([0.0, 1e4]), np.array([1.0, 0.0]), reduction="none")
    >>> loss.round(4)
    array([6.931e-01, 1.000e+04])
    >>> binary_cross_entropy_with_logits_backward(np.array([1.0, 1.0]), ctx)
    array([-0.5,  1. ])
    """
    name = "binary_cross_entropy_with_logits"
    backend, reduction = _enter_pair(name, x, target, reduction)
    loss, _ = _reduced(backend, backend.bce_with_logits_forward(x, target), x.size, reduction, x.shape)
    inputs = {"x": x, "target": target, "reduction": reduction}
    return door.leave(name, inputs, loss, BceWithLogitsContext(x, target, reduction))


def binary_cross_entropy_with_logits_backward(dy: Any, ctx: BceWithLogitsContext) -> Array:
    """dx = (σ(x) − target) · dy, divided by the number of values for "mean"."""
    name = "binary_cross_entropy_with_logits"
    door.check_context(name, ctx, BceWithLogitsContext)
    x, target, reduction = ctx
    dy = _upstream(name, dy, reduction, x)
    shape = x.shape if reduction == "none" else ()
    backend = door.enter_backward(name, ctx, BceWithLogitsContext, dy, shape, like=x)
    dx = backend.bce_with_logits_backward(_per_value(dy, reduction, x), x, target)
    return door.leave_backward(name, ctx, dy, dx)


# ---- what the losses share ----


def _enter_pair(operation: str, x: Array, target: Array, reduction: str):
    """The checks of a loss of two equal arrays: (backend, reduction)."""
    reduction = check.choice(operation, "reduction", reduction, REDUCTIONS)
    if target is None:
        raise TypeError(f"{operation}: target must be an array like x, got None")
    backend = door.enter(operation, x=x, target=target)
    check.shape(operation, "target", target, x.shape, "that of x")
    return backend, reduction


def _classes(operation: str, name: str, logits: Array) -> int:
    """How many classes the logits have: axis 1, or the only one."""
    if logits.ndim < 1:
        raise ValueError(f"{operation}: {name} must be (N, C), (C,) or (N, C, d1, …), got shape ()")
    classes = logits.shape[min(1, logits.ndim - 1)]
    if classes < 1:
        raise ValueError(f"{operation}: {name} must have at least one class, got shape {door.short(logits.shape)}")
    return classes


def _planes(logits: Array) -> Array:
    """(C,), (N, C) or (N, C, d1, …) as (N, C, L)."""
    return logits.reshape(_sizes(logits))


def _sizes(logits: Array) -> tuple[int, int, int]:
    """(N, C, L)"""
    shape = logits.shape
    if len(shape) == 2:
        return *shape, 1
    return (1, *shape, 1) if len(shape) == 1 else (*shape[:2], math.prod(shape[2:]))


def _loss_shape(logits: Array, reduction: str) -> tuple[int, ...]:
    """The shape of the loss: none for a number, else that of logits without the classes."""
    return () if reduction != "none" or logits.ndim == 1 else (logits.shape[0], *logits.shape[2:])


def _targets(operation: str, logits: Array, target: Any, ignore_index: int) -> Array:
    """Class probabilities as (N, C, L), class indices as int64 (N, L)."""
    floating = (is_array(target) or isinstance(target, np.generic)) and target.dtype.kind == "f"
    if not floating or target.shape == _loss_shape(logits, "none"):
        return _class_indices(operation, logits, target, ignore_index)
    if target.dtype != logits.dtype:
        raise TypeError(f"{operation}: target must be {logits.dtype} like the logits, got {door.describe(target)}")
    check.shape(operation, "target", target, logits.shape, "that of the logits, for class probabilities")
    if ignore_index >= 0:
        raise ValueError(f"{operation}: ignore_index must be negative for class probabilities, got {ignore_index}")
    return _planes(target)


def check_classes(operation: str, logits: Array, target: Any, ignore_index: int) -> None:
    """The errors of a loss for class indices that are none of the logits' classes, without the loss."""
    if is_array(target) and target.dtype.kind in "iu":
        _class_indices(operation, logits, target, ignore_index)


def _class_indices(operation: str, logits: Array, target: Any, ignore_index: int) -> Array:
    """int64 (N, L), every index a class or `ignore_index`. The kernels rely on it, so a backward checks again.

    While launches are recorded whoever records them checks, since to look at the numbers would wait for the GPU.
    """
    if not is_array(target) and isinstance(target, (int, np.integer)) and not isinstance(target, bool):
        target = np.asarray(target)
    if not is_array(target) or target.dtype.kind not in "iu":
        raise TypeError(f"{operation}: target must be an array of integer class indices, got {door.describe(target)}")
    check.shape(operation, "target", target, _loss_shape(logits, "none"), "one class index a position")
    N, C, L = _sizes(logits)
    if not recording() and not _all_below(target, C):
        wrong = (target != ignore_index) & ((target < 0) | (target >= C))
        if wrong.any():
            raise IndexError(
                f"{operation}: target must be a class, 0 to {C - 1}, or ignore_index {ignore_index}; "
                f"got {target[wrong][0]}"
            )
    positions = target.reshape(N, L)
    return positions if positions.dtype == np.int64 else positions.astype(np.int64)


def _all_below(target: Array, classes: int) -> bool:
    """Whether 0 ≤ t < classes for every t."""
    if target.size == 0:
        return True
    if target.size <= SHORT and isinstance(target, np.ndarray):
        numbers = target.ravel().tolist()
        return min(numbers) >= 0 and max(numbers) < classes
    return bool(target.min() >= 0) and bool(target.max() < classes)  # on the GPU this waits


def _reduced(backend: Any, losses: Array, weights: Any, reduction: str, shape: tuple[int, ...]) -> tuple[Any, Any]:
    """(the loss: an array of `shape` for "none", else a scalar; what the mean divides by)."""
    if reduction == "none":
        return c_order(losses).reshape(shape), 1.0
    loss, divisor = backend.reduce_losses(losses, weights, reduction == "mean")
    return loss if recording() else loss[()], divisor


def _upstream(operation: str, dy: Any, reduction: str, like: Array) -> Any:
    """dy as an array: a number, NumPy scalar or 0-d array becomes a 0-d array of the dtype of the loss."""
    if is_array(dy) and (dy.ndim > 0 or reduction == "none" or not isinstance(dy, np.ndarray)):
        return dy
    if isinstance(dy, np.ndarray):
        dy = dy[()]
    if reduction == "none" and not isinstance(dy, np.floating):
        return dy
    number = check.real(f"{operation}_backward", "dy", dy)
    if holds(like, number):
        return np.array(number, like.dtype)
    with np.errstate(over="ignore"):
        return (
            np.asarray(number, like.dtype)
            if isinstance(like, np.ndarray)
            else library(like).full((), number, like.dtype)
        )


def _scale(backend: Any, dy: Array, reduction: str, divisor: Any, logits: Array) -> Array:
    """The gradient of each unreduced loss, (N, L)."""
    N, _, L = _sizes(logits)
    if reduction == "mean":
        return backend.loss_scale(dy, divisor, (N, L))
    return library(logits).full((N, L), dy, logits.dtype) if dy.ndim == 0 else dy.reshape(N, L)


def _per_value(dy: Array, reduction: str, x: Array) -> Array:
    """dy of one unreduced loss: 0-d for "mean", where it is divided by the number of values, and for "sum"."""
    if reduction != "mean":
        return dy
    if dy.ndim == 0 and x.size and isinstance(dy, np.ndarray) and holds(x, float(dy) / x.size):
        return np.array(float(dy) / x.size, x.dtype)
    with np.errstate(invalid="ignore", divide="ignore"):
        if not isinstance(x, np.ndarray):
            return (dy / x.size).astype(x.dtype)
        return np.asarray(dy / np.asarray(x.size, np.float64), x.dtype)
