"""The loops in the order i, k, j: the inner one runs along rows of b and c, whose elements do not wait for each other,
so the compiler turns it into vector code. 27.3 GFLOP/s (see README.md)."""

import numba
import numpy as np

SIZE = 512


@numba.njit(fastmath={"contract"})
def multiply(a, b):
    c = np.zeros((a.shape[0], b.shape[1]), a.dtype)
    for i in range(c.shape[0]):
        for k in range(a.shape[1]):
            value = a[i, k]
            for j in range(c.shape[1]):
                c[i, j] += value * b[k, j]
    return c
