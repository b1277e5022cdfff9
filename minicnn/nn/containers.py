"""Modules made of modules, which know the backward of how they are joined."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from .. import functional as F
from ..backends import module_of
from ..functional import check
from ..functional.door import describe, short
from . import fused
from .module import Module

Array = np.ndarray


class Sequential(Module):
    """One module after the other: y = last(… second(first(x))).

    Takes modules, which are named "0", "1", …, or one dict of named ones. Supports len, iteration, append and
    indexing by position or slice; a slice is a Sequential of the same modules.

    >>> import numpy as np
    >>> from minicnn import nn
    >>> model = Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    >>> len(model), model[-1].out_features, model[:2](np.zeros((1, 4), np.float32)).shape
    (3, 2, (1, 8))
    """

    def __init__(self, *modules: Any):
        super().__init__()
        if len(modules) == 1 and isinstance(modules[0], Mapping):
            named = list(modules[0].items())
        else:
            named = [(str(i), module) for i, module in enumerate(modules)]
        for name, module in named:
            self.add_module(name, required("Sequential", name, module))

    def forward(self, x: Array) -> Array:
        return forward_through(tuple(self._modules.values()), x)

    def backward(self, dy: Array, need_dx: bool = True) -> Array | None:
        # forward: x goes through the modules in order
        return backward_through(tuple(self._modules.values()), dy, need_dx)

    def append(self, module: Module) -> "Sequential":
        """Add a module at the end, named by its position; returns self."""
        self.add_module(str(len(self)), required("Sequential", str(len(self)), module))
        return self

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Module]:
        return iter(tuple(self._modules.values()))

    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return Sequential(dict(list(self._modules.items())[index]))
        return self._modules[self._name(index)]

    def __setitem__(self, index: int, module: Module) -> None:
        name = self._name(index)
        setattr(self, name, required("Sequential", name, module))

    def _name(self, index: int) -> str:
        position = check.integer("Sequential", "index", index)
        if not -len(self) <= position < len(self):
            raise IndexError(f"Sequential: index must be {-len(self)} to {len(self) - 1}, got {position}")
        return list(self._modules)[position]


class Residual(Module):
    """y = branch(x) + shortcut(x) (He et al. 2016); shortcut None: x itself.

    >>> import numpy as np
    >>> from minicnn import nn
    >>> block = Residual(nn.ReLU())
    >>> block(np.array([-1.0, 2.0]))
    array([-1.,  4.])
    >>> block.backward(np.ones(2))
    array([1., 2.])
    """

    def __init__(self, branch: Module, shortcut: Module | None = None):
        super().__init__()
        self.branch = required("Residual", "branch", branch)
        self.add_module("shortcut", shortcut)

    def forward(self, x: Array) -> Array:
        branched = self.branch(x)
        y, ctx = F.add(branched, x if self.shortcut is None else self.shortcut(x))
        self.keep(ctx)
        return y

    def backward(self, dy: Array, need_dx: bool = True) -> Array | None:
        # forward: y = branch(x) + shortcut(x)
        with self.kept() as ctx:
            dbranch, dshortcut = F.add_backward(dy, ctx)
            if self.shortcut is not None:
                dshortcut = self.shortcut.backward(dshortcut, need_dx=need_dx)
            dx = self.branch.backward(dbranch, need_dx=need_dx)
            return meet(dx, dshortcut) if need_dx else None


class Concat(Module):
    """The outputs of all branches, each given x, joined along an axis (Szegedy et al. 2015).

    >>> import numpy as np
    >>> from minicnn import nn
    >>> Concat(nn.Identity(), nn.ReLU())(np.array([[-1.0, 2.0]]))
    array([[-1.,  2.,  0.,  2.]])
    """

    def __init__(self, *branches: Module, axis: int = 1):
        super().__init__()
        if not branches:
            raise ValueError("Concat: branches must be at least one module, got none")
        for i, branch in enumerate(branches):
            self.add_module(str(i), required("Concat", str(i), branch))
        self.axis = check.integer("Concat", "axis", axis)

    def forward(self, x: Array) -> Array:
        y, ctx = F.concat([branch(x) for branch in self._modules.values()], self.axis)
        self.keep(ctx)
        return y

    def backward(self, dy: Array, need_dx: bool = True) -> Array | None:
        # forward: y = concat(branch(x) for each branch)
        with self.kept() as ctx:
            pieces = F.concat_backward(dy, ctx)
            dx = None
            for branch, piece in reversed(list(zip(self._modules.values(), pieces))):
                through = branch.backward(piece, need_dx=need_dx)
                dx = through if dx is None else meet(dx, through)
            return dx

    def extra_repr(self) -> str:
        return "" if self.axis == 1 else f"axis={self.axis}"


def forward_through(modules: Sequence[Module], x: Array) -> Array:
    """x through the modules, one after the other; pairs that fused.py knows run as one where they may."""
    i = 0
    while i < len(modules):
        if i + 1 < len(modules) and fused.pair(modules[i], modules[i + 1]):
            x = fused.norm_relu(modules[i], modules[i + 1], x)
            i += 2
        elif i + 1 < len(modules) and fused.poolable(modules[i], modules[i + 1]):
            x = fused.relu_pool(modules[i], modules[i + 1], x)
            i += 2
        else:
            x = modules[i](x)
            i += 1
    return x


def backward_through(modules: Sequence[Module], dy: Array, need_dx: bool) -> Array | None:
    """The backward of modules that ran one after the other: each in reverse order.

    Without need_dx it stops at the first module that learns: before it no gradient is of use to anybody.
    """
    first = 0
    if not need_dx:
        learns = (i for i, m in enumerate(modules) if any(p.requires_grad for p in m.parameters()))
        first = next(learns, len(modules))
    i = len(modules) - 1
    while i >= first:
        if i > first and fused.pair(modules[i - 1], modules[i]):
            i -= 1
            dy = fused.norm_relu_backward(modules[i], modules[i + 1], dy, need_dx or i > first)
        elif i > first and fused.poolable(modules[i - 1], modules[i]):
            i -= 1
            dy = fused.relu_pool_backward(modules[i], modules[i + 1], dy)
        else:
            dy = modules[i].backward(dy, need_dx=need_dx or i > first)
        i -= 1
    return dy


def meet(a: Array, b: Array) -> Array:
    """The gradient of an x that went two ways: the sum of both."""
    return module_of(a).add_forward(a, b)  # type: ignore[union-attr]


def required(owner: str, name: Any, module: Any) -> Module:
    """A `TypeError` unless it is a Module."""
    if not isinstance(module, Module):
        hint = " (an instance, not the class)" if isinstance(module, type) else ""
        raise TypeError(f"{owner}: {short(name)} must be a Module{hint}, got {describe(module)}")
    return module
