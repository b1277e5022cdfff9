"""The checks before work starts. Each raises one sentence: the argument, what came, what was expected."""

import math
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from .door import describe, short

Size = int | Sequence[int]  # an int or a (height, width) pair of ints

LARGEST = 2**62  # of any product of sizes: beyond it an index no longer fits int64


def required(operation: str, name: str, array: np.ndarray | None) -> None:
    """`TypeError` for None where an argument cannot be left out: `door.enter` lets it pass."""
    if array is None:
        raise TypeError(f"{operation}: {name} must be an array, got None")


def is_sequence(value: Any) -> bool:
    """Several values: a tuple, a list, or an array with an axis."""
    return isinstance(value, (tuple, list)) or (isinstance(value, np.ndarray) and value.ndim > 0)


def rank(operation: str, name: str, array: np.ndarray, ranks: Sequence[int], layout: str) -> None:
    """`ValueError` unless the array has one of these ranks; `layout` says what is expected. None: a `TypeError`."""
    required(operation, name, array)
    if array.ndim not in ranks:
        raise ValueError(f"{operation}: {name} must be {layout}, got shape {short(array.shape)}")


def images(operation: str, x: np.ndarray) -> np.ndarray:
    """x as (N, C, H, W), a view; one image (C, H, W) is a batch of one. `ValueError` for another rank or no pixels."""
    if x is None or x.ndim not in (3, 4):
        rank(operation, "x", x, (3, 4), "(N, C, H, W) or (C, H, W)")
    if 0 in x.shape[-3:]:
        raise ValueError(f"{operation}: x must have at least one channel, row and column, got shape {short(x.shape)}")
    return x if x.ndim == 4 else x[None]


def shape(operation: str, name: str, array: np.ndarray, expected: tuple[int, ...], meaning: str) -> None:
    """`ValueError` unless the array has exactly this shape; `meaning` says where it comes from."""
    if array.shape != expected:
        raise ValueError(f"{operation}: {name} must have shape {short(expected)} ({meaning}), got {short(array.shape)}")


def integer(operation: str, name: str, value: Any, least: int | None = None) -> int:
    """An int (or NumPy integer, not a bool) of at least `least`."""
    if type(value) is int and (-LARGEST if least is None else least) <= value <= LARGEST:
        return value
    if isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{operation}: {name} must be an int, got {describe(value)}")
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{operation}: {name} must be an int, got {describe(value)}") from None
    if (least is not None and number < least) or abs(number) > LARGEST:
        bound = f"at least {least}" if least is not None and number < least else "below 2**62"
        raise ValueError(f"{operation}: {name} must be {bound}, got {short(number)}")
    return number


def pair(operation: str, name: str, value: Any, least: int) -> tuple[int, int]:
    """(height, width) from an int or a pair of ints (tuple, list, array), each at least `least`."""
    if type(value) is int and least <= value <= LARGEST:
        return value, value
    if is_sequence(value):
        if len(value) != 2:
            raise ValueError(f"{operation}: {name} must be an int or a pair of ints, got {short(value)}")
        return integer(operation, name, value[0], least), integer(operation, name, value[1], least)
    number = integer(operation, name, value, least)
    return number, number


def real(operation: str, name: str, value: Any) -> float:
    """A float from a Python or NumPy real number (not a bool)."""
    if type(value) is float:
        return value
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise TypeError(f"{operation}: {name} must be a number, got {describe(value)}")
    try:
        return float(value)
    except OverflowError:
        raise ValueError(f"{operation}: {name} must be a number that a float can hold, got {short(value)}") from None


def flag(operation: str, name: str, value: Any) -> bool:
    """A bool (or NumPy bool)."""
    if value is True or value is False:
        return value
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{operation}: {name} must be True or False, got {describe(value)}")
    return bool(value)


def choice(operation: str, name: str, value: Any, choices: Sequence[str]) -> str:
    """One of these strings."""
    if not isinstance(value, str):
        raise TypeError(f"{operation}: {name} must be a string, got {describe(value)}")
    if value not in choices:
        raise ValueError(f"{operation}: {name} must be one of {', '.join(choices)}; got {short(value)}")
    return value


def axis(operation: str, name: str, value: Any, ndim: int) -> int:
    """An axis, counted from the front. Out of range: NumPy's AxisError, which is a ValueError and an IndexError."""
    number = integer(operation, name, value)
    if not -ndim <= number < ndim:
        raise ValueError(f"{operation}: {name} must be {-ndim} to {ndim - 1} for {ndim} dimensions, got {number}")
    return number % ndim


def allocatable(operation: str, name: str, sizes: Sequence[int]) -> None:
    """`ValueError` if an array of these sizes cannot be indexed; `name` says which, and of what argument."""
    most = LARGEST // 8
    if max(sizes) ** len(sizes) > most and math.prod(max(1, size) for size in sizes) > most:
        raise ValueError(f"{operation}: {name} would be of shape {short(tuple(sizes))}, too large to address")
