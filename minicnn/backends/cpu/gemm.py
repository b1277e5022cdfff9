"""Matrix product: five loops around the microkernel (Goto & van de Geijn 2008; BLIS, Van Zee & van de Geijn 2015).

    C (M, N) = A (M, K) · B (K, N) or += , any strides of A and B

    each thread  has a rectangle of C and packs what it needs for itself                  parallel
    loop 5       over its columns in blocks of NC
    loop 4       over K in blocks of KC: pack B (KC, NC) into panels of NR columns, which stay in L2 or L3
    loop 3       over its rows in blocks of MC: A (MC, KC) stays in L2
    loop 2       over the panels of B: KC · NR, which stay in L1 or stream from L2
    loop 1       over MR rows of A
    the microkernel: MR × NR of C in registers, over k

No thread waits for another until the end: with B packed by all threads and then used by all, a product of
128 × 3136 · 3136 × 128 met at 34 barriers and reached 64 % of the FMA peak (2 threads, AVX2), like this it reaches 87.
The k loop must not be parallel: the order of the sum, and so its bits, would depend on the threads.
"""

from functools import lru_cache

import numpy as np
from numba import prange

from ..settings import get_num_threads
from .cache import kernel
from .memory import empty
from .moves import copy_run, transpose
from .scratch import odd_lines, scratch
from .simd import MR, NV, VECTOR_BYTES, tile_product
from .threads import launch

MC, NC = 96, 1536
KC = 192 if VECTOR_BYTES == 64 else 512  # on AVX2 a panel so streams from L2; 256, which fits L1, is 1 % slower at 2048
READ, PACK = 4, 16  # multiply-adds in the time that an element of L3 takes to be used where it lies, and to be packed


def gemm(a, b, out=None):
    """a (M, K) @ b (K, N) -> (M, N), C-contiguous; arrays of one dtype, of any strides. Added to `out` if given."""
    (M, K), N = a.shape, b.shape[1]
    if M * N * K == 0:
        return np.zeros((M, N), a.dtype) if out is None else out
    c = empty((M, N), a.dtype) if out is None else out
    (a, a_row, a_step), (b, b_step, b_column) = _flat(a), _flat(b)
    tasks, blocks, size = _plan(M, N, K, VECTOR_BYTES // c.itemsize, a_step != 1, get_num_threads())
    launch(
        _gemm,
        (M, N, K),
        a,
        a_row,
        a_step,
        b,
        b_step,
        b_column,
        c.reshape(-1),
        out is not None,
        tasks,
        blocks,
        scratch(c.dtype, size),
    )
    return c


def _flat(matrix):
    """A flat array that holds the matrix, and its steps in elements; a copy unless one step is 1 and none negative."""
    rows, columns = matrix.shape
    if matrix.flags.c_contiguous and matrix.flags.writeable:
        return matrix.reshape(-1), columns, 1
    if matrix.flags.f_contiguous and matrix.flags.writeable:
        return matrix.T.reshape(-1), 1, rows
    return np.array(matrix, order="C").reshape(-1), columns, 1


@lru_cache(256)
def _plan(M, N, K, lanes, pack_a, threads):
    """(how C is cut into rectangles, the blocks of each, elements of working memory)"""
    rows, columns = _rectangles(M, N, lanes, pack_a, threads)
    nr = NV * lanes
    mc, kc, nc = _even(rows, MC, MR), _even(K, KC, 1), _even(columns, NC, nr)
    a_row = odd_lines(kc, lanes)
    panel = odd_lines(kc * nr, 64 // VECTOR_BYTES * lanes)  # a row of B goes to many panels: not all into one set of L1
    packed_b = nc // nr * panel
    own = odd_lines(packed_b + pack_a * mc * a_row, lanes)
    count = -(-M // rows) * -(-N // columns)
    return (rows, columns, count, own), (mc, kc, nc, nr, a_row, panel), count * own


def _rectangles(M, N, lanes, pack_a, threads):
    """(rows, columns) of a thread's part of C, in the least time: its products, and bringing it its A and B."""

    def cost(part):
        rows, columns = part
        return rows * columns + PACK * columns + (PACK if pack_a else READ) * rows

    cuts = ((threads // across, across) for across in range(1, threads + 1))
    return min(((_even(M, -(-M // down), MR), _even(N, -(-N // across), lanes)) for down, across in cuts), key=cost)


def _even(size, block, unit):
    """The least multiple of `unit` of which as few cover `size` as of `block`: blocks of nearly one size."""
    return -(-size // (-(-size // block) * unit)) * unit


@kernel(parallel=True)
def _gemm(sizes, a, a_row, a_step, b, b_step, b_column, c, add, tasks, blocks, work):
    M, N, K = sizes
    rows, columns, count, own = tasks
    across = (N + columns - 1) // columns
    for index in prange(count):
        task = np.int64(index)
        i, j = task // across * rows, task % across * columns
        _rectangle(
            min(rows, M - i), min(columns, N - j), K, a, i * a_row, a_row, a_step, b, j * b_column, b_step, b_column,
            c, i * N + j, N, add, blocks, work, task * own,
        )  # fmt: skip


@kernel
def _rectangle(M, N, K, a, a_at, a_row, a_step, b, b_at, b_step, b_column, c, c_at, c_row, add, blocks, work, own):
    """Loops 5, 4 and 3."""
    mc, kc, nc, nr, packed_row, panel = blocks
    packed_a = own + nc // nr * panel
    for j in range(0, N, nc):
        n = min(nc, N - j)
        for k0 in range(0, K, kc):
            k = min(kc, K - k0)
            _pack(b, b_at + k0 * b_step + j * b_column, b_step, b_column, k, n, work, own, nr, panel)
            for i in range(0, M, mc):
                _multiply(
                    a, a_at + i * a_row + k0 * a_step, a_row, a_step, min(mc, M - i), k, n, work, own, nr, panel,
                    c, c_at + i * c_row + j, c_row, add or k0 > 0, packed_a, packed_row,
                )  # fmt: skip


@kernel
def _multiply(a, a_at, a_row, a_step, m, k, n, work, b_at, nr, panel, c, c_at, c_row, add, packed_a, packed_row):
    """Loops 2 and 1: a block of A times panels of the packed B.

    Rows of A are read where they lie: their copies cost more than they won, 2 % at 1024 × 1024 × 1024.
    """
    if a_step != 1:
        transpose(work, packed_a, packed_row, a, a_at, a_step, k, m)
        a, a_at, a_row = work, packed_a, packed_row
    for j in range(0, n, nr):
        for i in range(0, m, MR):  # (i, k) @ (k, j) -> (i, j)
            tile_product(
                k, a, a_at + i * a_row, a_row, 1, work, b_at + j // nr * panel, nr,
                c, c_at + i * c_row + j, c_row, min(MR, m - i), min(nr, n - j), add,
            )  # fmt: skip


@kernel
def _pack(b, b_at, b_step, b_column, k, n, out, out_at, nr, panel):
    """Panels (k, nr) of B (k, n); the columns past the last are never stored, but must be there to be read."""
    if b_column == 1:  # row by row: panel by panel, a row of B to a page, took nearly 3 times as long (2048 × 2048)
        for i in range(k):
            for j in range(0, n, nr):
                columns = min(nr, n - j)
                copy_run(out, out_at + j // nr * panel + i * nr, columns, b, b_at + i * b_step + j, 1, 0, columns)
    else:
        for j in range(0, n, nr):
            transpose(out, out_at + j // nr * panel, nr, b, b_at + j * b_column, b_column, min(nr, n - j), k)
