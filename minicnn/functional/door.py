"""The one door: every operation enters and leaves here.

`enter` looks at the arrays and picks the backend, `leave` hands the context out (or drops it, inside `no_grad`), and
both tell the listeners, if there are any. On that one hook stand `inspect.trace`, `inspect.summary` and
`minicnn.compile`. With nobody listening the two calls cost about a microsecond.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import ModuleType
from typing import Any

import numpy as np
from numpy import ndarray

from ..backends import module_of, of_numpy
from ..backends.places import is_array
from ..backends.settings import keeps_contexts

Array = np.ndarray


class Listener:
    """What somebody who listens is told. Override what you need; arrays must not be changed.

    `entered` comes before the arithmetic of an operation, so the time until `forward` or `backward` is its own.
    inputs: every argument of the call by name, arrays and settings. Called with them again the operation does the same,
    except that conv2d shows its padding in the backends' form, (top, bottom, left, right).
    """

    def entered(self, operation: str) -> None: ...

    def forward(self, operation: str, inputs: dict[str, Any], y: Any, ctx: Any) -> None: ...

    def backward(self, operation: str, ctx: Any, dy: Any, gradients: Any) -> None: ...

    def module_entered(self, module: Any) -> None: ...

    def module_left(self, module: Any) -> None: ...


_listeners: ContextVar[tuple[Listener, ...]] = ContextVar("listeners", default=())


@contextmanager
def listen(listener: Listener) -> Iterator[Listener]:
    """Tell `listener` of every operation inside the block, in this thread."""
    token = _listeners.set((*_listeners.get(), listener))
    try:
        yield listener
    finally:
        _listeners.reset(token)


def listeners() -> tuple[Listener, ...]:
    """Those who listen now."""
    return _listeners.get()


def enter(operation: str, **arrays: Array | None) -> ModuleType:
    """Check that all arrays are of one supported floating dtype and return the backend that computes them.

    The first array decides; None stands for an argument that was left out. `TypeError` otherwise.
    """
    backend, dtype = of_numpy(), None
    for array in arrays.values():
        if type(array) is ndarray:
            if dtype is None and backend.supports(array.dtype):
                dtype = array.dtype
            if array.dtype is dtype:
                continue
        elif array is None and dtype is not None:
            continue
        backend = _checked(operation, arrays)  # not plain NumPy arrays of one dtype: seldom, and worth a second look
        break
    for listener in _listeners.get():
        listener.entered(operation)
    return backend


def _checked(operation: str, arrays: dict[str, Any]) -> ModuleType:
    """What `enter` does, for arrays of any kind."""
    (first_name, first), *others = arrays.items()
    backend = module_of(first)
    if backend is None:
        raise TypeError(f"{operation}: {first_name} must be a NumPy array, got {describe(first)}")
    if not backend.supports(first.dtype):
        raise TypeError(f"{operation}: {first_name} must be float32 or float64, got {describe(first)}")
    for name, array in others:
        if array is not None and not (module_of(array) is backend and array.dtype == first.dtype):
            raise TypeError(
                f"{operation}: {name} must be an array of {first.dtype} like {first_name}, got {describe(array)}"
            )
    return backend


def leave(operation: str, inputs: dict[str, Any], y: Any, ctx: Any) -> tuple[Any, Any]:
    """Report a forward and return (y, ctx), without the context inside `no_grad`."""
    for listener in _listeners.get():
        listener.forward(operation, inputs, y, ctx)
    return y, ctx if keeps_contexts() else None


def enter_backward(operation: str, ctx: Any, kind: type, dy: Any, shape: tuple[int, ...], like: Array) -> ModuleType:
    """Check dy against the shape of y and the dtype of `like` (an input of the forward) and return the backend.

    Call `check_context(operation, ctx, kind)` first where `shape` is computed from the context.
    """
    check_context(operation, ctx, kind)
    backend = module_of(like)
    if backend is None or (type(dy) is not type(like) and module_of(dy) is not backend):
        raise TypeError(f"{operation}_backward: dy must be an array of {like.dtype} like y, got {describe(dy)}")
    if dy.dtype != like.dtype:
        raise TypeError(f"{operation}_backward: dy must be {like.dtype} like y, got {dy.dtype}")
    if dy.shape != shape:
        raise ValueError(f"{operation}_backward: dy must have the shape of y, {short(shape)}, got {short(dy.shape)}")
    for listener in _listeners.get():
        listener.entered(operation)
    return backend


def check_context(operation: str, ctx: Any, kind: type) -> None:
    """A `TypeError` unless ctx is what the forward of this operation returned."""
    if not isinstance(ctx, kind):
        hint = " (the forward ran inside no_grad)" if ctx is None else ""
        raise TypeError(
            f"{operation}_backward: ctx must be the {kind.__name__} of its forward, got {describe(ctx)}{hint}"
        )


def leave_backward(operation: str, ctx: Any, dy: Any, gradients: Any) -> Any:
    """Report a backward and return its gradients."""
    for listener in _listeners.get():
        listener.backward(operation, ctx, dy, gradients)
    return gradients


def describe(value: Any) -> str:
    """What came, in a few words, for an error message."""
    if is_array(value) or isinstance(value, np.generic):
        return f"{type(value).__name__} of {value.dtype}, shape {short(value.shape)}"
    return "None" if value is None else type(value).__name__


def short(value: Any) -> str:
    """repr, cut so that an error message stays on one line."""
    if isinstance(value, int) and abs(value) > 10**80:
        return "an int of more than 80 digits"  # Python refuses to print the very long ones
    text = " ".join(repr(value).split())  # the repr of an array has several lines
    return text if len(text) <= 80 else text[:77] + "..."
