"""The microkernel: a tile of c stays in registers for the whole sum over k, so that a step loads 8 + 3 values or
vectors for 24 vector multiply-adds; b is read where it lies, in rows as far apart as b is wide, and A, B or both leave
the caches as matrices grow. 26.6 GFLOP/s (see README.md)."""

import numba
import numpy as np

from minicnn.backends.cpu.simd import MR, NR32, tile_product

SIZE = 2048


def multiply(a, b):
    c = np.zeros((a.shape[0], b.shape[1]), np.float32)
    readable = np.concatenate([b.reshape(-1), np.zeros(NR32, np.float32)])  # tiles read whole vectors
    _multiply(a.reshape(-1), readable, c.reshape(-1), c.shape[0], c.shape[1], a.shape[1])
    return c


@numba.njit(parallel=True)
def _multiply(a, b, c, rows, columns, depth):
    for tile in numba.prange((rows + MR - 1) // MR):
        i = tile * MR
        for j in range(0, columns, NR32):
            tile_product(
                depth, a, i * depth, depth, 1, b, j, columns, c, i * columns + j, columns,
                min(MR, rows - i), min(NR32, columns - j), False,
            )  # fmt: skip
