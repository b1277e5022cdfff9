"""Matrix product: five loops around the microkernel (Goto & van de Geijn 2008; BLIS, Van Zee & van de Geijn 2015).

    C (M, N) = A (M, K) · B (K, N) or += , any strides of A and B

    loop 5  over N in blocks of NC: the packed block of B stays in L3
    loop 4  over K in blocks of KC: pack B (KC, NC) into panels of NR columns          parallel over panels
    loop 3  over M in blocks of MC, and over groups of panels of B                      parallel
              A that does not lie along k is packed (MC, KC) into L2
    loop 2  over the panels of B                                                       each from L2 or L3 …
    loop 1  over MR rows of A                                                          … used for all rows
    the microkernel: MR × NR of C in registers, over k

The k loop must not be parallel: the order of the sum, and so its bits, would depend on the threads.
"""

import numba
import numpy as np
from numba import prange

from ..settings import get_num_threads
from .cache import kernel
from .moves import copy_run, transpose
from .scratch import scratch
from .simd import MR, NV, VECTOR_BYTES, tile_product
from .threads import launch

MC, KC, NC = 96, 256, 3072
GROUP = 8  # panels of B a task


def gemm(a, b, out=None):
    """a (M, K) @ b (K, N) -> (M, N), C-contiguous; arrays of one dtype, of any strides. Added to `out` if given."""
    (M, K), N = a.shape, b.shape[1]
    c = np.zeros((M, N), a.dtype) if out is None else out
    if M * N * K == 0:
        return c
    (a, a_row, a_step), (b, b_step, b_column) = _flat(a), _flat(b)
    nr = NV * VECTOR_BYTES // c.itemsize
    packed_b = min(KC, K) * (-(-min(NC, N) // nr) * nr)
    size = packed_b + get_num_threads() * MC * (KC + 16)
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
        nr,
        packed_b,
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


@kernel(parallel=True)
def _gemm(sizes, a, a_row, a_step, b, b_step, b_column, c, add, nr, packed_b, work):
    M, N, K = sizes
    for j0 in range(0, N, NC):
        n = min(NC, N - j0)
        panels = (n + nr - 1) // nr
        groups = (panels + GROUP - 1) // GROUP
        for k0 in range(0, K, KC):
            k = min(KC, K - k0)
            for panel in prange(panels):
                _pack_panel(
                    b,
                    k0 * b_step + (j0 + panel * nr) * b_column,
                    b_step,
                    b_column,
                    k,
                    min(nr, n - panel * nr),
                    work,
                    panel * k * nr,
                    nr,
                )
            for task in prange((M + MC - 1) // MC * groups):
                i0, first = task // groups * MC, task % groups * GROUP
                m = min(MC, M - i0)
                block, block_at, block_row = a, i0 * a_row + k0 * a_step, a_row
                if a_step != 1:
                    block, block_at, block_row = work, packed_b + numba.get_thread_id() * MC * (KC + 16), KC + 16
                    _pack_rows(a, i0 * a_row + k0 * a_step, a_step, m, k, block, block_at, block_row)
                for panel in range(first, min(panels, first + GROUP)):
                    j = panel * nr
                    for i in range(0, m, MR):
                        tile_product(
                            k,
                            block,
                            block_at + i * block_row,
                            block_row,
                            1,
                            work,
                            panel * k * nr,
                            nr,
                            c,
                            (i0 + i) * N + j0 + j,
                            N,
                            min(MR, m - i),
                            min(nr, n - j),
                            add or k0 > 0,
                        )


@kernel
def _pack_panel(b, b_at, b_step, b_column, k, columns, out, out_at, nr):
    """out (k, nr) = a panel of B; the columns past the last are never stored, but must be there to be read."""
    if b_column == 1:
        for i in range(k):
            copy_run(out, out_at + i * nr, columns, b, b_at + i * b_step, 1, 0, columns)
    else:
        transpose(out, out_at, nr, b, b_at, b_column, columns, k)


@kernel
def _pack_rows(a, a_at, a_step, rows, k, out, out_at, out_row):
    """out (rows, k) = a block of A that lies along its columns; now its rows lie along k."""
    transpose(out, out_at, out_row, a, a_at, a_step, k, rows)
