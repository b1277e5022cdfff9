"""Batch norm, ReLU and, before the ReLU, the sum with a shortcut: one pass over memory where nobody looks in between.

Training writes the result of each operation and reads it for the next: relu(bn(x) + shortcut) moves eight arrays, in
one pass three; the backward likewise. Both ways give the same bits, and both leave the same contexts, so that a
backward may go either way whatever its forward did. With a listener or a hook each module runs for itself.
"""

from typing import Any

import numpy as np

from .. import functional as F
from ..backends.settings import keeps_contexts
from ..functional import door
from ..functional.activation import ReluContext
from ..functional.elementwise import AddContext
from ..functional.norm import batch_norm_relu, batch_norm_relu_backward
from .activation import ReLU
from .contexts import forward_run
from .linear import data, learn, learning
from .module import Module
from .norm import BatchNorm2d

Array = np.ndarray


def pair(norm: Any, relu: Any) -> bool:
    """Whether these two modules, one after the other, may run as one."""
    return type(norm) is BatchNorm2d and type(relu) is ReLU


def norm_relu(
    norm: Module, relu: Module, x: Array, shortcut: Array | None = None, adder: Module | None = None
) -> Array:
    """y = relu(norm(x)), or relu(norm(x) + shortcut), where `adder` keeps the context of the sum."""
    if not (_unwatched(norm, relu) and norm.training and _alike(x, shortcut)):
        y = norm(x)
        if shortcut is not None:
            y, ctx = F.add(y, shortcut)
            adder.keep(ctx)
        return relu(y)
    norm.check(x)
    moves = norm.moves()
    running = (norm.running_mean, norm.running_var) if moves else (None, None)
    affine = data(norm.weight), data(norm.bias)
    y, norm_ctx = batch_norm_relu(x, shortcut, *running, *affine, norm.rate() if moves else 0.0, norm.eps)
    norm.count()
    if keeps_contexts():
        for module in (norm, relu):
            module.__dict__["_run"] = forward_run.get()
        norm.keep(norm_ctx)
        relu.keep(ReluContext(y))
        if shortcut is not None:
            adder.keep(AddContext(y))
    return y


def norm_relu_backward(norm: Module, relu: Module, dy: Array, need_dx: bool = True, adder: Module | None = None) -> Any:
    """dx, or with an adder (dx, dshortcut)."""
    # forward: y = relu(norm(x)), or relu(norm(x) + shortcut)
    if adder is not None:
        with adder.kept() as add_ctx:
            if _unwatched(norm, relu):
                return _backward(norm, relu, dy, need_dx, True)
            dnorm, dshortcut = F.add_backward(relu.backward(dy), add_ctx)
            return norm.backward(dnorm, need_dx=need_dx), dshortcut
    if _unwatched(norm, relu):
        return _backward(norm, relu, dy, need_dx, False)[0]
    return norm.backward(relu.backward(dy), need_dx=need_dx)


def _backward(norm: Module, relu: Module, dy: Array, need_dx: bool, wanted: bool) -> tuple[Array | None, Array | None]:
    """(dx, dshortcut), the latter None unless wanted."""
    with relu.kept() as relu_ctx, norm.kept() as ctx:
        needs = (need_dx, *learning(norm.weight, norm.bias))
        if ctx.training:
            dx, dweight, dbias, dshortcut = batch_norm_relu_backward(dy, relu_ctx.x, ctx, wanted, needs=needs)
        else:
            g = F.relu_backward(dy, relu_ctx)
            dx, dweight, dbias = F.batch_norm_backward(g, ctx, needs=needs)
            dshortcut = g if wanted else None
        learn(norm.weight, dweight)
        learn(norm.bias, dbias)
        return dx, dshortcut


def _unwatched(*modules: Any) -> bool:
    return pair(*modules) and not (
        door.listeners() or any(module._forward_hooks or module._backward_hooks for module in modules)
    )


def _alike(x: Any, shortcut: Any) -> bool:
    """Whether the sum is possible; if not, `add` says why."""
    arrays = isinstance(x, np.ndarray) and (shortcut is None or isinstance(shortcut, np.ndarray))
    return arrays and (shortcut is None or (shortcut.shape == x.shape and shortcut.dtype == x.dtype))
