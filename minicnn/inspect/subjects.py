"""What `gradcheck` checks, in one form: a pair of functions or a module as a function of named arrays."""

import copy
import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from .. import functional, random
from ..functional.door import describe
from . import peers

Array = np.ndarray
Arrays = dict[str, Array]

# the arguments that a backward returns gradients of, where they are not simply the first ones
_DIFFERENTIABLE = {"batch_norm": ("x", "weight", "bias")}


class Subject(NamedTuple):
    name: str
    arrays: Arrays  # what it is differentiated by, in float64
    forward: Callable[[Arrays], Array]
    gradients: Callable[[Arrays, Any], Arrays]  # forward and hand-written backward, in the dtype of the arrays
    torch: Callable[[Arrays, Any], Arrays] | None  # the same by PyTorch


def of_pair(pair: Sequence[Any], inputs: Sequence[Any], settings: dict[str, Any], wrt: Sequence[str] | None) -> Subject:
    """(op, op_backward) at these arguments. `wrt` names the arguments that the backward returns gradients of."""
    op, op_backward = pair
    name = getattr(op, "__name__", "operation")
    try:
        bound = inspect.signature(op).bind(*inputs, **settings)
    except TypeError as problem:
        raise TypeError(f"gradcheck: {name} cannot be called with these inputs: {problem}") from None
    bound.apply_defaults()
    arguments = _flat(dict(bound.arguments))
    first = _DIFFERENTIABLE.get(name) if _is_ours(op) else None
    names = list(wrt or first or arguments)
    unknown = [each for each in names if each not in arguments]
    if unknown:
        raise ValueError(f"gradcheck: wrt names {unknown[0]!r}, {name} takes {', '.join(arguments)}")

    def run(arrays: Arrays) -> tuple[Any, Any]:
        given = _nested(bound.arguments, {**_fresh(arguments, _dtype(arrays)), **arrays})
        call = inspect.BoundArguments(bound.signature, given)
        result = op(*call.args, **call.kwargs)
        if not isinstance(result, tuple) or len(result) != 2:
            raise TypeError(f"gradcheck: {name} must return (y, ctx), got {describe(result)}")
        return result

    def gradients(arrays: Arrays, dy: Any) -> Arrays:
        found = op_backward(dy, run(arrays)[1])
        found = list(found) if isinstance(found, (tuple, list)) else [found]
        if len(found) > len(names) and any(each is not None for each in found[len(names) :]):
            raise ValueError(
                f"gradcheck: {name} has {len(names)} differentiable arguments, its backward gave {len(found)}"
            )
        return {each: gradient for each, gradient in zip(names, found, strict=False) if gradient is not None}

    floating = {key: value for key, value in _fresh(arguments, np.float64).items() if _is_floating(value)}
    y = run({})[0]
    dy = np.ones(np.shape(y))[()]
    arrays = {}
    for each in gradients({}, dy):
        if each not in floating:
            raise TypeError(f"gradcheck: {name}'s backward gives a gradient of {each}, {describe(arguments[each])}")
        arrays[each] = floating[each]

    def torch(at: Arrays, dy: Any) -> Arrays:
        flat = {**_fresh(arguments, _dtype(at)), **at}
        leaves = [flat[each] for each in at]
        return dict(zip(at, peers.gradients(name, _nested(bound.arguments, flat), leaves, dy), strict=True))

    has_peer = _is_ours(op) and peers.available(name)
    return Subject(name, arrays, lambda at: np.asarray(run(at)[0]), gradients, torch if has_peer else None)


def of_module(module: Any, inputs: Sequence[Any]) -> Subject:
    """A module (or loss) at this input: its gradient dx and that of every parameter. Works on copies of the module."""
    copies = {dtype: _as_dtype(module, dtype) for dtype in (np.dtype(np.float64), np.dtype(np.float32))}
    name = type(module).__name__
    first, *others = inputs
    if not _is_floating(first):
        raise TypeError(f"gradcheck: the input of {name} must be a floating array, got {describe(first)}")

    def run(arrays: Arrays) -> tuple[Any, Any]:
        dtype = _dtype(arrays)
        model = copies[dtype]
        for key, parameter in _parameters(model).items():
            parameter.data[...] = arrays[key]
            parameter.grad = None
        rest = [value.astype(dtype) if _is_floating(value) else value for value in others]
        with same_random_numbers():
            return model, model(arrays["input"].copy(), *rest)

    def gradients(arrays: Arrays, dy: Any) -> Arrays:
        model, _ = run(arrays)
        dx = model.backward(dy)
        trained = {key: parameter.grad for key, parameter in _parameters(model).items()}
        return {"input": dx, **{key: grad for key, grad in trained.items() if grad is not None}}

    model = copies[np.dtype(np.float64)]
    parameters = {key: np.array(parameter.data) for key, parameter in _parameters(model).items()}
    arrays = {"input": np.array(first, np.float64), **parameters}
    return Subject(name, arrays, lambda at: np.asarray(run({**arrays, **at})[1]), gradients, None)


@contextmanager
def same_random_numbers() -> Iterator[None]:
    """What is drawn inside is put back: the next block draws the same, and so does the caller's own run."""
    bits = random.generator().bit_generator
    state = bits.state
    try:
        yield
    finally:
        bits.state = state


def _as_dtype(module: Any, dtype: np.dtype) -> Any:
    twin = copy.deepcopy(module)
    return twin.astype(dtype) if hasattr(twin, "astype") else twin


def _parameters(module: Any) -> dict[str, Any]:
    return dict(module.named_parameters()) if hasattr(module, "named_parameters") else {}


def _is_ours(op: Any) -> bool:
    return getattr(functional, getattr(op, "__name__", ""), None) is op


def _is_floating(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind == "f"


def _dtype(arrays: Arrays) -> np.dtype:
    return next(iter(arrays.values())).dtype if arrays else np.dtype(np.float64)


def _fresh(arguments: dict[str, Any], dtype: Any) -> dict[str, Any]:
    """Copies, floating ones in `dtype`: an operation may update what it is given (running statistics, a generator)."""
    return {
        key: value.astype(dtype) if _is_floating(value) else copy.deepcopy(value) for key, value in arguments.items()
    }


def _flat(arguments: dict[str, Any]) -> dict[str, Any]:
    """A list of arrays becomes one argument an array: arrays[0], arrays[1], …"""
    flat: dict[str, Any] = {}
    for key, value in arguments.items():
        if _is_list_of_arrays(value):
            flat |= {f"{key}[{i}]": item for i, item in enumerate(value)}
        else:
            flat[key] = value
    return flat


def _nested(arguments: dict[str, Any], flat: dict[str, Any]) -> dict[str, Any]:
    """The inverse of `_flat`, with the values of `flat`."""
    return {
        key: type(value)(flat[f"{key}[{i}]"] for i in range(len(value))) if _is_list_of_arrays(value) else flat[key]
        for key, value in arguments.items()
    }


def _is_list_of_arrays(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and len(value) > 0 and all(isinstance(item, np.ndarray) for item in value)
