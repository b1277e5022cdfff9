"""The kernel of prepared_linear.py: y = x (M, K) · weightᵀ (K, R), then bias and ReLU while y is in cache."""

import numpy as np
from numba import prange

from .cache import kernel
from .simd import MR, tile_product


@kernel(parallel=True, alone=True)
def linear(x, packed, bias, relu, y, sizes, plan):
    """A panel of outputs and some rows of x a task."""
    M, K, R = sizes
    rows, nr = plan
    panels, zero = (R + nr - 1) // nr, y.dtype.type(0)
    for index in prange(panels * ((M + rows - 1) // rows)):
        task = np.int64(index)
        panel, first = task % panels, task // panels * rows
        o, count, last = panel * nr, min(nr, R - panel * nr), min(M, first + rows)
        for m in range(first, last, MR):  # (m, K) @ (K, o) -> (m, o)
            tile_product(
                K, x, m * K, K, 1, packed, o * K, nr, y, m * R + o, R, min(MR, last - m), count, False
            )  # fmt: skip
        for m in range(first, last):
            line, added = y[m * R + o : m * R + o + count], bias[o : o + count]
            for t in range(count):
                value = line[t] + added[t]
                line[t] = zero if relu and value <= zero else value
