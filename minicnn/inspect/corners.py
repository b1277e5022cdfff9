"""Where a function has a corner: a tie in a maximum, a kink of relu. There a gradient is a choice between the sides."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ..functional.door import Listener, listen

Array = np.ndarray
Index = tuple[int, ...]

NEAR = 2e-6  # of the value: the smallest step of the finite differences


class Branches(Listener):
    """Which way each relu and each maximum went."""

    def __init__(self) -> None:
        self.taken: list[tuple[str, Array]] = []

    def forward(self, operation: str, inputs: dict[str, Any], y: Any, ctx: Any) -> None:
        if operation in ("relu", "leaky_relu"):
            self.taken.append((f"kink of {operation}", inputs["x"] > 0))
        elif operation == "max_pool2d":
            self.taken.append(("tie in a maximum", ctx.indices))


def corner_at(function: Callable[[Array], Array], array: Array, index: Index) -> str | None:
    """The first operation that takes another branch on the two sides of this entry, or None."""
    sides = []
    for sign in (-1, 1):
        moved = array.copy()
        moved[index] += sign * NEAR * max(1.0, abs(moved[index]))
        branches = Branches()
        with listen(branches):
            function(moved)
        sides.append(branches.taken)
    changed = [name for (name, left), (_, right) in zip(*sides, strict=True) if not np.array_equal(left, right)]
    return changed[0] if changed else None


def slopes_nearby(function: Callable[[Array], Array], array: Array, index: Index, dy: Array) -> Iterator[float]:
    """The derivative in this entry at points close by, where ties and kinks are resolved in one way or another.

    First where the first of equal values is the largest and zeros are negative, which is what torch chooses.
    """
    rng = np.random.default_rng(0)
    ramp = -(1 + np.arange(array.size).reshape(array.shape) / max(1, array.size))
    for nudge in (ramp, *(rng.uniform(-1, 1, array.shape) for _ in range(24))):
        point = array + 1e-3 * nudge
        h = 1e-7 * max(1.0, abs(point[index]))
        plus, minus = point.copy(), point.copy()
        plus[index] += h
        minus[index] -= h
        yield float(np.sum(dy * (function(plus) - function(minus)))) / (2 * h)
