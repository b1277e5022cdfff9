"""Statistics: an array in a few numbers."""

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Statistics:
    """Of one array; mean, std and largest are over its finite values, in float64.

    >>> Statistics.of(np.array([[3.0, 0.0], [np.nan, -1.0]]))  # doctest: +ELLIPSIS
    Statistics(mean=0.66..., std=1.69..., largest=3.0, zeros=0.25, not_finite=1, first_not_finite=(1, 0))
    """

    mean: float
    std: float
    largest: float  # absolute value
    zeros: float  # share of all values
    not_finite: int  # NaN and infinities
    first_not_finite: tuple[int, ...] | None  # index of the first of them, in C order

    @classmethod
    def of(cls, array: Any) -> "Statistics":
        values = np.asarray(array)
        finite = np.isfinite(values)
        bad = int(values.size - np.count_nonzero(finite))
        first = tuple(map(int, np.unravel_index(int(np.argmin(finite)), values.shape))) if bad else None
        kept = values[finite] if bad else values
        if not kept.size:
            return cls(0.0, 0.0, 0.0, 0.0, bad, first)
        mean = float(kept.mean(dtype=np.float64))
        largest = max(float(kept.max()), -float(kept.min()))
        zeros = float(kept.size - np.count_nonzero(kept)) / values.size
        return cls(mean, float(kept.std(dtype=np.float64)), largest, zeros, bad, first)
