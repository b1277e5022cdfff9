"""The definition, c[i, j] = Σ_k a[i, k] · b[k, j], in plain Python: each step of k costs some hundred nanoseconds of
interpreter for one multiplication. 0.005 GFLOP/s (see README.md)."""

import numpy as np

SIZE = 64  # of the matrices that run.py times


def multiply(a, b):
    c = np.zeros((a.shape[0], b.shape[1]), a.dtype)
    for i in range(c.shape[0]):
        for j in range(c.shape[1]):
            for k in range(a.shape[1]):
                c[i, j] += a[i, k] * b[k, j]
    return c
