"""Matrix products with few rows: too few to pay for the packing of `gemm`, so weights are read where they lie.

Of one image and 3136 inputs, 128 outputs (2 cores, AVX2): y 22 µs instead of 70, dx 25 instead of 81. y stays ahead up
to 16 rows, with 10 × 128 weights up to 64 (11 µs instead of 19), dx up to 4. dweight is only for small layers: of one
image and 128 inputs, 10 outputs 4 µs instead of 7, but with 3136 × 128 weights 49 instead of 43.
"""

import numpy as np
from numba import prange

from .arrays import canonical
from .cache import kernel
from .memory import empty
from .threads import launch

ROWS_FORWARD, ROWS_FORWARD_SMALL, ROWS_BACKWARD = 16, 64, 4  # at most
SMALL = 1 << 14  # weights: with so few it is the shorter call that counts
OUTPUTS = 8  # a task
PIECE = 1024  # of a dot product at a time: four rows of weights and two of x stay in L1
COLUMNS = 256  # a task of `_combine`


def pays_forward(rows, weights):
    """Whether `rows_by_rows` takes less time than `gemm` and the bias after it."""
    return rows <= (ROWS_FORWARD_SMALL if weights <= SMALL else ROWS_FORWARD)


def rows_by_rows(x, weight, bias):
    """x (M, K) @ weight.T + bias, weight (F, K) -> (M, F): every sum runs along two rows in memory; bias may be None.

    To add the bias afterwards took 10 µs, as long as the product of one image with 10 × 128 weights.
    """
    y = empty((x.shape[0], weight.shape[0]), x.dtype)
    bias = np.empty(0, x.dtype) if bias is None else canonical(bias)
    launch(_dots, canonical(x), canonical(weight), bias, y)
    return y


def combine(coefficients, rows):
    """coefficients (R, T) @ rows (T, K) -> (R, K), where R or T is small."""
    out = empty((coefficients.shape[0], rows.shape[1]), rows.dtype)
    launch(_combine, canonical(coefficients), canonical(rows), out)
    return out


@kernel(parallel=True)
def _dots(x, weight, bias, y):
    M, K = x.shape
    F = weight.shape[0]
    for task in prange((F + OUTPUTS - 1) // OUTPUTS):
        for o in range(task * OUTPUTS, min(F, (task + 1) * OUTPUTS), 4):
            # past the last row of weights, or of x, the last once more: its product is not stored
            o1, o2, o3 = min(o + 1, F - 1), min(o + 2, F - 1), min(o + 3, F - 1)
            for k in range(0, K, PIECE):
                end = min(K, k + PIECE)
                four = weight[o, k:end], weight[o1, k:end], weight[o2, k:end], weight[o3, k:end]
                for m in range(0, M, 2):
                    sums = two_by_four(x[m, k:end], x[min(m + 1, M - 1), k:end], *four)
                    for row in range(m, min(M, m + 2)):
                        for j in range(min(4, F - o)):
                            before = y.dtype.type(0) if k == 0 else y[row, o + j]
                            total = before + sums[(row - m) * 4 + j]
                            y[row, o + j] = total + bias[o + j] if end == K and bias.size else total


@kernel(fast=True)
def two_by_four(a, b, w0, w1, w2, w3):
    """The dot products of two rows with four: eight sums in registers for six loads."""
    a0 = a1 = a2 = a3 = b0 = b1 = b2 = b3 = a.dtype.type(0)
    for k in range(a.size):
        a0 += a[k] * w0[k]
        a1 += a[k] * w1[k]
        a2 += a[k] * w2[k]
        a3 += a[k] * w3[k]
        b0 += b[k] * w0[k]
        b1 += b[k] * w1[k]
        b2 += b[k] * w2[k]
        b3 += b[k] * w3[k]
    return a0, a1, a2, a3, b0, b1, b2, b3


@kernel(parallel=True)
def _combine(coefficients, rows, out):
    (R, T), K = coefficients.shape, rows.shape[1]
    for task in prange((K + COLUMNS - 1) // COLUMNS):
        k, end = task * COLUMNS, min(K, (task + 1) * COLUMNS)
        for r in range(R):
            line = out[r, k:end]
            for i in range(line.size):
                line[i] = 0
            for i in range(0, T - 3, 4):
                four = rows[i, k:end], rows[i + 1, k:end], rows[i + 2, k:end], rows[i + 3, k:end]
                add_four(line, coefficients[r, i : i + 4], *four)
            for i in range(T // 4 * 4, T):
                add_one(line, coefficients[r, i], rows[i, k:end])


@kernel
def add_four(line, c, r0, r1, r2, r3):
    c0, c1, c2, c3 = c[0], c[1], c[2], c[3]
    for i in range(line.size):
        line[i] += c0 * r0[i] + c1 * r1[i] + c2 * r2[i] + c3 * r3[i]


@kernel
def add_one(line, c, row):
    for i in range(line.size):
        line[i] += c * row[i]
