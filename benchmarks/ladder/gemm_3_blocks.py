"""Blocks, and all threads: a block of b is used by many rows while it lies in the L2 cache, and each thread has rows
of its own; every multiply-add still loads and stores c. 42.9 GFLOP/s (see README.md)."""

import numba
import numpy as np

SIZE = 512
ROWS, DEPTH, COLUMNS = 16, 64, 1024  # a block of b: 64 × 1024 float32, 256 KiB


@numba.njit(parallel=True)
def multiply(a, b):
    (rows, depth), columns = a.shape, b.shape[1]
    c = np.zeros((rows, columns), a.dtype)
    for block in numba.prange((rows + ROWS - 1) // ROWS):
        for j in range(0, columns, COLUMNS):
            for k0 in range(0, depth, DEPTH):
                for i in range(block * ROWS, min(rows, block * ROWS + ROWS)):
                    for k in range(k0, min(depth, k0 + DEPTH)):
                        add_row(c[i, j : j + COLUMNS], a[i, k], b[k, j : j + COLUMNS])
    return c


@numba.njit(fastmath={"contract"})
def add_row(c, value, b):
    """c += value · b. A function of its own: the compiler sees that the rows are contiguous and makes vector code."""
    for j in range(len(c)):
        c[j] += value * b[j]
