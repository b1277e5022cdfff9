"""Checks of arguments before work starts. Each raises one sentence: the argument, what came, what was expected."""

import math
import operator
from typing import Any

import numpy as np

MAX_PIXELS = 200_000_000  # of one image, before or after resizing: about 600 MB as RGB


def describe(value: Any) -> str:
    """What came, in a few words."""
    if isinstance(value, np.ndarray):
        return f"an array of {value.dtype}, shape {value.shape}"
    return "None" if value is None else type(value).__name__


def short(value: Any) -> str:
    """repr, cut so that an error message stays on one line."""
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def integer(where: str, name: str, value: Any, least: int) -> int:
    """An int (or NumPy integer, not a bool) of at least `least`."""
    try:
        if isinstance(value, (bool, np.bool_)):
            raise TypeError
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{where}: {name} must be an int, got {describe(value)}") from None
    if not least <= number < 2**63:
        bound = f"at least {least}" if number < least else "below 2**63"
        raise ValueError(f"{where}: {name} must be {bound}, got {short(number)}")
    return number


def real(where: str, name: str, value: Any) -> float:
    """A finite float from a Python or NumPy real number (not a bool)."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise TypeError(f"{where}: {name} must be a number, got {describe(value)}")
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{where}: {name} must be finite, got {number}")
    return number


def flag(where: str, name: str, value: Any) -> bool:
    """A bool (or NumPy bool)."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{where}: {name} must be True or False, got {describe(value)}")
    return bool(value)


def probability(where: str, name: str, value: Any) -> float:
    """A number from 0 to 1."""
    number = real(where, name, value)
    if not 0 <= number <= 1:
        raise ValueError(f"{where}: {name} must be from 0 to 1, got {number}")
    return number


def interval(where: str, name: str, value: Any) -> tuple[float, float]:
    """A pair of numbers, 0 < low ≤ high."""
    if not isinstance(value, (tuple, list, np.ndarray)) or len(value) != 2:
        raise TypeError(f"{where}: {name} must be a pair of numbers (low, high), got {short(value)}")
    low, high = real(where, name, value[0]), real(where, name, value[1])
    if not 0 < low <= high:
        raise ValueError(f"{where}: {name} must be 0 < low ≤ high, got {short(value)}")
    return low, high


def size_pair(where: str, name: str, value: Any) -> tuple[int, int]:
    """(height, width), each at least 1 and together at most MAX_PIXELS, from an int, a one-element list or a pair."""
    if isinstance(value, (tuple, list, np.ndarray)) and np.ndim(value) > 0:
        if len(value) not in (1, 2):
            raise ValueError(f"{where}: {name} must be an int or a pair of ints, got {short(value)}")
        height, width = integer(where, name, value[0], 1), integer(where, name, value[-1], 1)
    else:
        height = width = integer(where, name, value, 1)
    pixels(where, height, width)
    return height, width


def pixels(where: str, height: int, width: int) -> None:
    """`ValueError` for an image of more than MAX_PIXELS."""
    if height * width > MAX_PIXELS:
        raise ValueError(
            f"{where}: an image of {width} x {height} is refused: more than {MAX_PIXELS // 10**6} million pixels"
        )


def transform(where: str, value: Any) -> Any:
    """None or something that can be called."""
    if value is not None and not callable(value):
        raise TypeError(f"{where}: transform must be callable or None, got {describe(value)}")
    return value
