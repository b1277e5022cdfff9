"""Modules in a row that run as one where nobody looks in between.

Batch norm, ReLU and, before the ReLU, the sum with a shortcut: one pass over memory. Training writes the result of each
operation and reads it for the next: relu(bn(x) + shortcut) moves eight arrays, in one pass three; the backward
likewise. Both ways give the same bits, and both leave the same contexts, so that a backward may go either way whatever
its forward did. With a listener or a hook each module runs for itself.

ReLU and max pooling: the largest pixel is found first, and ReLU sees a quarter of the pixels or fewer. Where it passes,
the largest of relu(x) is the largest of x, at the same place; where it does not, the gradient is 0 at any place.
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
from .pooling import MaxPool2d

Array = np.ndarray
FLOATS = (np.float32, np.float64)


def pair(norm: Any, relu: Any) -> bool:
    """Whether these two modules, one after the other, may run as one."""
    return type(norm) is BatchNorm2d and type(relu) is ReLU


def norm_relu(
    norm: Module, relu: Module, x: Array, shortcut: Array | None = None, adder: Module | None = None
) -> Array:
    """y = relu(norm(x)), or relu(norm(x) + shortcut), where `adder` keeps the context of the sum."""
    if not (pair(norm, relu) and _unwatched(norm, relu) and norm.training and _alike(x, shortcut)):
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
            if pair(norm, relu) and _unwatched(norm, relu):
                return _backward(norm, relu, dy, need_dx, True)
            dnorm, dshortcut = F.add_backward(relu.backward(dy), add_ctx)
            return norm.backward(dnorm, need_dx=need_dx), dshortcut
    if pair(norm, relu) and _unwatched(norm, relu):
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


class PooledReluContext(ReluContext):
    """Of a ReLU that ran behind the pooling: `x` as always, so that its backward can run alone, and `of_pooled`."""

    of_pooled: ReluContext


def poolable(relu: Any, pool: Any) -> bool:
    """Whether these two modules, one after the other, may run as one. Of a dilated window all taps may lie outside."""
    return type(relu) is ReLU and type(pool) is MaxPool2d and pool.dilation in (1, (1, 1))


def relu_pool(relu: Module, pool: Module, x: Array) -> Array:
    """y = pool(relu(x))"""
    if not (poolable(relu, pool) and _unwatched(relu, pool) and isinstance(x, np.ndarray) and x.dtype in FLOATS):
        return pool(relu(x))
    y, pool_ctx = F.max_pool2d(x, pool.kernel_size, pool.stride, pool.padding, pool.dilation, pool.ceil_mode)
    y, _ = F.relu(y)
    if keeps_contexts():
        for module in (relu, pool):
            module.__dict__["_run"] = forward_run.get()
        kept = PooledReluContext(x)
        kept.of_pooled = ReluContext(y)  # its sign is that of what ReLU got, and the next layer keeps it anyway
        relu.keep(kept)
        pool.keep(pool_ctx)
    return y


def relu_pool_backward(relu: Module, pool: Module, dy: Array) -> Array:
    # forward: y = pool(relu(x)), or relu(pool(x)), which is the same
    if not (poolable(relu, pool) and _unwatched(relu, pool)):
        return relu.backward(pool.backward(dy))
    with relu.kept() as relu_ctx, pool.kept() as pool_ctx:
        if isinstance(relu_ctx, PooledReluContext):
            return F.max_pool2d_backward(F.relu_backward(dy, relu_ctx.of_pooled), pool_ctx)
        return F.relu_backward(F.max_pool2d_backward(dy, pool_ctx), relu_ctx)


def _unwatched(*modules: Any) -> bool:
    return not (door.listeners() or any(module._forward_hooks or module._backward_hooks for module in modules))


def _alike(x: Any, shortcut: Any) -> bool:
    """Whether the sum is possible; if not, `add` says why."""
    arrays = isinstance(x, np.ndarray) and (shortcut is None or isinstance(shortcut, np.ndarray))
    return arrays and (shortcut is None or (shortcut.shape == x.shape and shortcut.dtype == x.dtype))
