"""Blocks, and all threads: a block of b is used by many rows while it lies in the L2 cache, and each thread has rows
of its own; every step still loads and stores c."""

import numba
import numpy as np

SIZE = 512
ROWS, DEPTH, COLUMNS = 16, 64, 1024  # a block of b: 64 × 1024 float32, 256 KiB


@numba.njit(parallel=True, fastmath={"contract"})
def multiply(a, b):
    (rows, depth), columns = a.shape, b.shape[1]
    c = np.zeros((rows, columns), a.dtype)
    for block in numba.prange((rows + ROWS - 1) // ROWS):
        for j0 in range(0, columns, COLUMNS):
            j1 = min(columns, j0 + COLUMNS)
            for k0 in range(0, depth, DEPTH):
                for i in range(block * ROWS, min(rows, block * ROWS + ROWS)):
                    for k in range(k0, min(depth, k0 + DEPTH)):
                        value = a[i, k]
                        for j in range(j0, j1):
                            c[i, j] += value * b[k, j]
    return c
