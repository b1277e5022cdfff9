"""Elementwise nonlinearities. Each context keeps x alone: y is remade where the gradient needs it."""

from typing import NamedTuple

import numpy as np

from . import check, door

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


class LeakyReluContext(NamedTuple):
    x: Array  # its sign decides the slope
    negative_slope: float


def leaky_relu(x: Array, negative_slope: float = 0.01) -> tuple[Array, LeakyReluContext | None]:
    """y = x where x > 0, else negative_slope · x

    >>> import numpy as np
    >>> y, ctx = leaky_relu(np.array([-1.0, 0.0, 2.0]), negative_slope=0.5)
    >>> y
    array([-0.5,  0. ,  2. ])
    >>> leaky_relu_backward(np.array([4.0, 4.0, 4.0]), ctx)
    array([2., 2., 4.])
    """
    backend = door.enter("leaky_relu", x=x)
    negative_slope = check.real("leaky_relu", "negative_slope", negative_slope)
    y = backend.leaky_relu_forward(x, negative_slope)
    inputs = {"x": x, "negative_slope": negative_slope}
    return door.leave("leaky_relu", inputs, y, LeakyReluContext(x, negative_slope))


def leaky_relu_backward(dy: Array, ctx: LeakyReluContext) -> Array:
    """dx = dy where x > 0, else negative_slope · dy (at NaN too)."""
    door.check_context("leaky_relu", ctx, LeakyReluContext)
    backend = door.enter_backward("leaky_relu", ctx, LeakyReluContext, dy, ctx.x.shape, like=ctx.x)
    return door.leave_backward("leaky_relu", ctx, dy, backend.leaky_relu_backward(dy, ctx.x, ctx.negative_slope))


class SigmoidContext(NamedTuple):
    x: Array  # σ(x) is remade from it


def sigmoid(x: Array) -> tuple[Array, SigmoidContext | None]:
    """y = 1 / (1 + exp(−x)), for every x without overflow.

    >>> import numpy as np
    >>> y, ctx = sigmoid(np.array([0.0, 1e4, -1e4]))
    >>> y
    array([0.5, 1. , 0. ])
    >>> sigmoid_backward(np.ones(3), ctx)
    array([0.25, 0.  , 0.  ])
    """
    backend = door.enter("sigmoid", x=x)
    return door.leave("sigmoid", {"x": x}, backend.sigmoid_forward(x), SigmoidContext(x))


def sigmoid_backward(dy: Array, ctx: SigmoidContext) -> Array:
    """dx = dy · y · (1 − y)"""
    door.check_context("sigmoid", ctx, SigmoidContext)
    backend = door.enter_backward("sigmoid", ctx, SigmoidContext, dy, ctx.x.shape, like=ctx.x)
    return door.leave_backward("sigmoid", ctx, dy, backend.sigmoid_backward(dy, ctx.x))


class TanhContext(NamedTuple):
    x: Array  # tanh(x) is remade from it


def tanh(x: Array) -> tuple[Array, TanhContext | None]:
    """y = tanh(x)

    >>> import numpy as np
    >>> y, ctx = tanh(np.array([0.0, 20.0]))
    >>> y
    array([0., 1.])
    >>> tanh_backward(np.ones(2), ctx)
    array([1., 0.])
    """
    backend = door.enter("tanh", x=x)
    return door.leave("tanh", {"x": x}, backend.tanh_forward(x), TanhContext(x))


def tanh_backward(dy: Array, ctx: TanhContext) -> Array:
    """dx = dy · (1 − y²)"""
    door.check_context("tanh", ctx, TanhContext)
    backend = door.enter_backward("tanh", ctx, TanhContext, dy, ctx.x.shape, like=ctx.x)
    return door.leave_backward("tanh", ctx, dy, backend.tanh_backward(dy, ctx.x))


class GeluContext(NamedTuple):
    x: Array  # Φ(x) and its derivative are remade from it
    approximate: str


def gelu(x: Array, approximate: str = "none") -> tuple[Array, GeluContext | None]:
    """y = x · Φ(x), Φ the distribution function of the normal distribution (Hendrycks & Gimpel 2016).

    approximate: "none", or "tanh" for Φ(x) ≈ ½ (1 + tanh(√(2/π) (x + 0.044715 x³))).

    >>> import numpy as np
    >>> y, ctx = gelu(np.array([-1.0, 0.0, 2.0]))
    >>> y.round(4)
    array([-0.1587,  0.    ,  1.9545])
    >>> gelu_backward(np.ones(3), ctx).round(4)
    array([-0.0833,  0.5   ,  1.0852])
    """
    backend = door.enter("gelu", x=x)
    approximate = check.choice("gelu", "approximate", approximate, ("none", "tanh"))
    y = backend.gelu_forward(x, approximate)
    return door.leave("gelu", {"x": x, "approximate": approximate}, y, GeluContext(x, approximate))


def gelu_backward(dy: Array, ctx: GeluContext) -> Array:
    """dx = dy · (Φ(x) + x · Φ'(x))"""
    door.check_context("gelu", ctx, GeluContext)
    backend = door.enter_backward("gelu", ctx, GeluContext, dy, ctx.x.shape, like=ctx.x)
    return door.leave_backward("gelu", ctx, dy, backend.gelu_backward(dy, ctx.x, ctx.approximate))


class SiluContext(NamedTuple):
    x: Array  # σ(x) is remade from it


def silu(x: Array) -> tuple[Array, SiluContext | None]:
    """y = x · σ(x), σ the sigmoid; also called swish.

    >>> import numpy as np
    >>> y, ctx = silu(np.array([-1.0, 0.0, 2.0]))
    >>> y.round(4)
    array([-0.2689,  0.    ,  1.7616])
    >>> silu_backward(np.ones(3), ctx).round(4)
    array([0.0723, 0.5   , 1.0908])
    """
    backend = door.enter("silu", x=x)
    return door.leave("silu", {"x": x}, backend.silu_forward(x), SiluContext(x))


def silu_backward(dy: Array, ctx: SiluContext) -> Array:
    """dx = dy · σ(x) · (1 + x · (1 − σ(x)))"""
    door.check_context("silu", ctx, SiluContext)
    backend = door.enter_backward("silu", ctx, SiluContext, dy, ctx.x.shape, like=ctx.x)
    return door.leave_backward("silu", ctx, dy, backend.silu_backward(dy, ctx.x))
