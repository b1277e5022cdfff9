"""Elementwise nonlinearities: ReLU and its relatives."""

from typing import NamedTuple

import numpy as np

from . import door

Array = np.ndarray


class ReluContext(NamedTuple):
    x: Array  # its sign decides what passes


def relu(x: Array) -> tuple[Array, ReluContext | None]:
    """y = max(x, 0). NaN stays NaN.

    >>> import numpy as np
    >>> y, ctx = relu(np.array([-1.0, 0.0, 2.0]))
    >>> y
    array([0., 0., 2.])
    >>> relu_backward(np.array([5.0, 5.0, 5.0]), ctx)
    array([0., 0., 5.])
    """
    backend = door.enter("relu", x=x)
    return door.leave("relu", {"x": x}, backend.relu_forward(x), ReluContext(x))


def relu_backward(dy: Array, ctx: ReluContext) -> Array:
    """dx = dy where x > 0 (or x is NaN), else 0: at 0 the gradient is 0."""
    door.check_context("relu", ctx, ReluContext)
    backend = door.enter_backward("relu", ctx, ReluContext, dy, ctx.x.shape, like=ctx.x)
    return door.leave_backward("relu", ctx, dy, backend.relu_backward(dy, ctx.x))
