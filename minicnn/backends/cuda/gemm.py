"""Matrix products: C = A·B with A and B in any order of rows and columns. See tile.py for how a block works.

The source of a slice is copied as it lies in memory: along k or along the rows (columns) of the product, and 16 bytes
at a time where the addresses allow it.
"""

from functools import cache

import numba
import numpy as np
from numba import cuda, int32

from .arrays import ALIGNMENT as BYTES
from .arrays import blocks, canonical, empty, zeros
from .launch import kernel, launch
from .moves import ALIGNMENT, wait_all
from .slices import finish, parts_for, slices_for
from .tile import PAD, make_copy, make_multiply, make_store, tile_for


def gemm(a, b, bias=None):
    """C = a @ b (+ bias, one number a column): a (M, K), b (K, N), both C-contiguous or the transpose of such."""
    return batched(a[None], b[None], bias)[0]


def batched(a, b, bias=None):
    """C[e] = a[e] @ b[e] (+ bias) for each e: a (E, M, K), b (E, K, N), each of them as in `gemm`."""
    (E, M, K), N = a.shape, b.shape[2]
    if E * M * N * K == 0:
        c = zeros((E, M, N), a.dtype)
        return c if bias is None else c + bias
    c = empty((E, M, N), a.dtype)
    bias = None if bias is None else canonical(bias)
    tile = tile_for(M, a.dtype)
    a, a_layout, a_m, a_k = _operand(a)
    b, b_layout, b_n, b_k = _operand(b.transpose(0, 2, 1))
    tiles, steps = blocks(M, tile.BM) * blocks(N, tile.BN), blocks(K, tile.BK)
    slices = slices_for(E * tiles, tile, steps)
    parts, flat = parts_for(c.reshape(-1), slices), c.reshape(-1)
    # the bias is added by whoever finishes a sum
    sizes = (M, N, K, a_m, a_k, b_n, b_k, blocks(steps, slices), int(bias is not None and slices == 1))  # each e alike
    run = _product(tile, a.dtype, a_layout, b_layout)
    launch(run, (tiles, slices, E), tile.threads, a, b, parts, flat if bias is None else bias, sizes)
    if slices > 1:
        finish(parts, flat, slices, bias=bias)
    return c


def _operand(a):
    """(flat array, layout, step of its rows, step of k) of A, or of B transposed."""
    turned = a.transpose(0, 2, 1)
    rows_lie_together = turned.flags.c_contiguous and not a.flags.c_contiguous
    lying = canonical(turned if rows_lie_together else a)
    step = lying.shape[2]
    if not rows_lie_together:
        return lying.reshape(-1), "k", step, 1
    return lying.reshape(-1), "x" if step * a.dtype.itemsize % BYTES else "x16", 1, step  # 16 bytes: in each e, too


@cache
def _product(tile, dtype, a_layout, b_layout):
    """The kernel for operands that lie so. Grid: (tiles, those of one column first; slices of k; e)."""
    number = numba.from_dtype(np.dtype(dtype))
    BM, BN, BK, TM, TN = tile
    A_SLICE, B_SLICE, SUMS = BK * (BM + PAD), BK * (BN + PAD), TM * TN
    A_SHARED, B_SHARED = 2 * A_SLICE, 2 * B_SLICE
    copy_a, copy_b = make_copy(tile, BM, a_layout, dtype), make_copy(tile, BN, b_layout, dtype)
    multiply, store = make_multiply(tile, number), make_store(tile)

    @kernel(threads=tile.bounds)
    def product(a, b, c, bias, sizes):
        M, N, K, a_m, a_k, b_n, b_k, steps, with_bias = sizes
        a_shared = cuda.shared.array(A_SHARED, number, ALIGNMENT)
        b_shared = cuda.shared.array(B_SHARED, number, ALIGNMENT)
        sums = cuda.local.array(SUMS, number)
        for i in range(SUMS):
            sums[i] = 0
        tiles_down = (M + BM - 1) // BM
        m0, n0 = cuda.blockIdx.x % tiles_down * BM, cuda.blockIdx.x // tiles_down * BN
        first = cuda.blockIdx.y * steps * BK
        last = min(first + steps * BK, K)
        a_at, b_at = cuda.blockIdx.z * M * K + m0 * a_m, cuda.blockIdx.z * K * N + n0 * b_n
        a_m, a_k, b_n, b_k = int32(a_m), int32(a_k), int32(b_n), int32(b_k)
        rows, columns = int32(min(M - m0, BM)), int32(min(N - n0, BN))
        depth = int32(min(last - first, BK))
        copy_a(a_shared, 0, a, a_at + first * a_k, a_m, a_k, rows, depth)
        copy_b(b_shared, 0, b, b_at + first * b_k, b_n, b_k, columns, depth)
        held = 0
        for k in range(first, last, BK):
            wait_all()
            cuda.syncthreads()  # this slice is there, and nobody reads the other any more
            after, other = k + BK, 1 - held
            if after < last:
                depth = int32(min(last - after, BK))
                copy_a(a_shared, other * A_SLICE, a, a_at + after * a_k, a_m, a_k, rows, depth)
                copy_b(b_shared, other * B_SLICE, b, b_at + after * b_k, b_n, b_k, columns, depth)
            multiply(a_shared, held * A_SLICE, b_shared, held * B_SLICE, sums)
            held = other
        if with_bias:
            for j in range(TN):
                n = n0 + j // 4 * (4 * BN // TN) + cuda.threadIdx.x % (BN // TN) * 4 + j % 4
                if n < N:
                    for i in range(TM):
                        sums[i * TN + j] += bias[n]
        c_at = (cuda.blockIdx.y * cuda.gridDim.z + cuda.blockIdx.z) * M * N + m0 * N + n0
        store(c, c_at, N, rows, columns, N % 4 == 0, sums)

    return product
