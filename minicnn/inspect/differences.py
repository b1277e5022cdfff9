"""Derivatives by finite differences, in float64, with an estimate of their error.

A central difference D(h) = (L(h) − L(−h)) / 2h is off by c·h² + O(h⁴), and by rounding, about eps·|L| / h. Ridders'
method ("Accurate computation of F'(x) and F'(x)F''(x)", 1982) takes D for a sweep of steps h, cancels h², h⁴, … between
neighbours (Richardson) and keeps the entry of the tableau that differs least from those it was made of.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

EPS = float(np.finfo(np.float64).eps)
RATIO = 8.0
STEPS = tuple(2.0**-4 * RATIO**-i for i in range(6))  # 6e-2 down to 2e-6; powers of two are exact


class Derivative(NamedTuple):
    value: float  # the best central difference
    error: float  # estimate of its error
    left: float  # slope to the left and
    right: float  # to the right of the point, at the smallest step: they differ at a kink
    is_kink: bool  # the two slopes do not come together as the step shrinks


def derivative(y_at: Callable[[float], np.ndarray], dy: np.ndarray, scale: float = 1.0) -> Derivative:
    """dL/dt at t = 0 of L(t) = Σ dy·y(t), steps being multiples of `scale`.

    >>> d = derivative(lambda t: np.exp(np.array([t, 2 * t])), np.array([1.0, 10.0]))
    >>> round(d.value, 9), d.error < 1e-9, d.is_kink
    (21.0, True, False)
    >>> d = derivative(lambda t: np.maximum(np.array([t]), 0.0), np.array([1.0]))
    >>> d.value, d.left, d.right, d.is_kink
    (0.5, 0.0, 1.0, True)
    """
    here = y_at(0.0)
    tableau: list[list[float]] = []
    best = Derivative(np.nan, np.inf, np.nan, np.nan, False)
    gaps, left, right = [], np.nan, np.nan
    for i, step in enumerate(STEPS):
        h = step * scale
        plus, minus = y_at(h), y_at(-h)
        # what did not change cancels exactly and rounds nothing
        noise = 2 * EPS * float(np.sum(np.abs(dy * plus)[plus != minus])) / h
        row = [float(np.sum(dy * (plus - minus))) / (2 * h)]
        left, right = float(np.sum(dy * (here - minus))) / h, float(np.sum(dy * (plus - here))) / h
        gaps.append(abs(right - left) - 2 * noise)
        for k in range(1, i + 1):
            row.append(row[k - 1] + (row[k - 1] - tableau[i - 1][k - 1]) / (RATIO ** (2 * k) - 1))
            error = max(abs(row[k] - row[k - 1]), abs(row[k] - tableau[i - 1][k - 1])) + noise
            if error < best.error:
                best = best._replace(value=row[k], error=float(error))
        tableau.append(row)
    # on a smooth function the gap is h·L'', RATIO times smaller at each step
    is_kink = gaps[-1] > 0 and gaps[-1] > 0.5 * gaps[-2]
    return best._replace(left=left, right=right, is_kink=bool(is_kink))


def along(function: Callable[[np.ndarray], np.ndarray], x: np.ndarray, index: tuple[int, ...], dy: np.ndarray):
    """The derivative of Σ dy·function(x) in the entry x[index]."""

    def y_at(t: float) -> np.ndarray:
        moved = x.copy()
        moved[index] += t
        return function(moved)

    return derivative(y_at, dy, scale=max(1.0, float(np.abs(x[index]))))
