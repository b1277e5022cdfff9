"""Matrix product: five loops around the microkernel (Goto & van de Geijn 2008; BLIS, Van Zee & van de Geijn 2015).

    C (M, N) = A (M, K) · B (K, N) or += , any strides of A and B

    loop 5  over N in blocks of NC: the packed block of B stays in L3
    loop 4  over K in blocks of KC: pack B (KC, NC) into panels of NR columns          parallel over panels
    loop 3  over M in blocks of MC, and over groups of panels: pack A (MC, KC) to L2    parallel
    loop 2  over the panels of a group: KC · NR of B, three quarters of L1
    loop 1  over MR rows of A
    the microkernel: MR × NR of C in registers, over k

The k loop must not be parallel: the order of the sum, and so its bits, would depend on the threads.
"""

import numba
import numpy as np
from numba import prange

from ..settings import get_num_threads
from .cache import kernel
from .memory import empty
from .moves import copy_run, transpose
from .scratch import odd_lines, scratch
from .simd import MR, NV, VECTOR_BYTES, tile_product
from .threads import launch

MC, KC, NC = 96, 192, 3072
GROUP = 8  # panels of B a task
SMALL = 1 << 16  # elements of a single panel of B


def gemm(a, b, out=None):
    """a (M, K) @ b (K, N) -> (M, N), C-contiguous; arrays of one dtype, of any strides. Added to `out` if given."""
    (M, K), N = a.shape, b.shape[1]
    if M * N * K == 0:
        return np.zeros((M, N), a.dtype) if out is None else out
    c = empty((M, N), a.dtype) if out is None else out
    (a, a_row, a_step), (b, b_step, b_column) = _flat(a), _flat(b)
    lanes = VECTOR_BYTES // c.itemsize
    nr = min(NV * lanes, -(-N // lanes) * lanes)
    kc = KC if nr < N else max(KC, SMALL // nr)  # one panel: longer sums, fewer rounds
    row_blocks = max(4, -(-M // (2 * MC)) * 2)  # an even number of nearly one size: work for several threads
    mc = -(-M // (row_blocks * MR)) * MR
    row = odd_lines(min(kc, K), lanes)
    packed_b = min(kc, K) * (-(-min(NC, N) // nr) * nr)
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
        (mc, kc, nr, row),
        packed_b,
        scratch(c.dtype, packed_b + get_num_threads() * mc * row),
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
def _gemm(sizes, a, a_row, a_step, b, b_step, b_column, c, add, plan, packed_b, work):
    """Loops 5, 4 and 3. One prange serves packing and multiplying: each costs 0.4 s to compile."""
    M, N, K = sizes
    mc, kc, nr, row = plan
    for j0 in range(0, N, NC):
        n = min(NC, N - j0)
        panels = (n + nr - 1) // nr
        groups = (panels + GROUP - 1) // GROUP
        for k0 in range(0, K, kc):
            k = min(kc, K - k0)
            for phase in range(2):
                tasks = (panels, (M + mc - 1) // mc * groups)[phase]
                for index in prange(tasks):
                    task = np.int64(index)
                    if phase == 0:
                        b_at, columns = k0 * b_step + (j0 + task * nr) * b_column, min(nr, n - task * nr)
                        _pack_panel(b, b_at, b_step, b_column, k, columns, work, task * k * nr, nr)
                    else:
                        i0, first = task // groups * mc, task % groups * GROUP
                        own = packed_b + numba.get_thread_id() * mc * row
                        _multiply(
                            a, i0 * a_row + k0 * a_step, a_row, a_step, min(mc, M - i0), k, first * nr,
                            min(n, (first + GROUP) * nr), c, i0 * N + j0, N, add or k0 > 0, nr, row, work, own,
                        )  # fmt: skip


@kernel
def _multiply(a, a_at, a_row, a_step, m, k, j_first, j_last, c, c_at, c_row, add, nr, row, work, own):
    """Loops 2 and 1: a block of A times panels of the packed B."""
    if a_step != 1:
        transpose(work, own, row, a, a_at, a_step, k, m)
        a, a_at, a_row = work, own, row
    elif j_last - j_first > 2 * nr:  # used often enough: rows close together, in few pages
        for i in range(m):
            copy_run(work, own + i * row, k, a, a_at + i * a_row, 1, 0, k)
        a, a_at, a_row = work, own, row
    for j in range(j_first, j_last, nr):
        for i in range(0, m, MR):  # (i, k) @ (k, j) -> (i, j)
            tile_product(
                k, a, a_at + i * a_row, a_row, 1, work, j * k, nr,
                c, c_at + i * c_row + j, c_row, min(MR, m - i), min(nr, j_last - j), add,
            )  # fmt: skip


@kernel
def _pack_panel(b, b_at, b_step, b_column, k, columns, out, out_at, nr):
    """out (k, nr) = a panel of B; the columns past the last are never stored, but must be there to be read."""
    if b_column == 1:
        for i in range(k):
            copy_run(out, out_at + i * nr, columns, b, b_at + i * b_step, 1, 0, columns)
    else:
        transpose(out, out_at, nr, b, b_at, b_column, columns, k)
