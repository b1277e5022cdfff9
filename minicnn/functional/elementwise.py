"""Arithmetic of whole arrays."""

from typing import NamedTuple

import numpy as np

from ..backends.places import copy_of
from . import check, door

Array = np.ndarray


class AddContext(NamedTuple):
    a: Array  # its shape and dtype are those of both gradients


def add(a: Array, b: Array) -> tuple[Array, AddContext | None]:
    """y = a + b, of equal shapes and dtypes (no broadcasting): where a residual branch joins its shortcut.

    >>> import numpy as np
    >>> y, ctx = add(np.array([1.0, 2.0]), np.array([10.0, 20.0]))
    >>> y
    array([11., 22.])
    >>> add_backward(np.array([5.0, 7.0]), ctx)
    (array([5., 7.]), array([5., 7.]))
    """
    if b is None:
        raise TypeError("add: b must be an array like a, got None")
    backend = door.enter("add", a=a, b=b)
    check.shape("add", "b", b, a.shape, "that of a")
    return door.leave("add", {"a": a, "b": b}, backend.add_forward(a, b), AddContext(a))


def add_backward(dy: Array, ctx: AddContext) -> tuple[Array, Array]:
    """(da, db) = (dy, dy), two arrays of their own."""
    door.check_context("add", ctx, AddContext)
    door.enter_backward("add", ctx, AddContext, dy, ctx.a.shape, like=ctx.a)
    gradients = (copy_of(dy), copy_of(dy))
    return door.leave_backward("add", ctx, dy, gradients)
