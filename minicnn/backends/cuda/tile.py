"""One block of a matrix product: what gemm.py and the convolutions share.

    C[m, n] = Σ_k A[m, k] · B[k, n]

A block of threads makes BM × BN elements of C. BK columns of A and rows of B at a time lie in shared memory, one row of
BM or BN numbers for each k, and each thread keeps TM × TN sums in registers: per k it reads TM + TN numbers for TM · TN
multiplications (the blocking of Goto & van de Geijn 2008, as in CUTLASS). Shared memory holds two such slices: while
one is multiplied, asynchronous copies fill the other, with one barrier a slice.

Sums run over k in order, in one thread, so results repeat to the bit.
"""

from typing import NamedTuple

from numba import cuda

from .launch import device
from .moves import load4

PAD = 4  # added to a row of shared memory: 16 lanes that store along k then meet at most in pairs in a bank


class Tile(NamedTuple):
    """Sizes of a block; BM · BN / (TM · TN) threads."""

    BM: int  # rows of C
    BN: int  # columns of C
    BK: int  # steps of k held at a time
    TM: int = 8  # rows a thread, in groups of four neighbours
    TN: int = 8  # columns a thread, likewise

    @property
    def threads(self):
        return self.BM * self.BN // (self.TM * self.TN)


def make_multiply(tile, dtype):
    """multiply(a, a_at, b, b_at, sums): sums[i · TN + j] += Σ_k a[k, row(i)] · b[k, column(j)], over one slice."""
    BM, BN, BK, TM, TN = tile
    a_row, b_row = BM + PAD, BN + PAD
    a_group, b_group = 4 * BM // TM, 4 * BN // TN  # from one group of four to the thread's next
    across = BN // TN  # threads side by side

    @device
    def multiply(a, a_at, b, b_at, sums):
        left = cuda.local.array(TM, dtype)
        top = cuda.local.array(TN, dtype)
        a_from = a_at + cuda.threadIdx.x // across * 4
        b_from = b_at + cuda.threadIdx.x % across * 4
        for k in range(BK):
            for g in range(TM // 4):
                left[4 * g], left[4 * g + 1], left[4 * g + 2], left[4 * g + 3] = load4(a, a_from + k * a_row + g * a_group)
            for g in range(TN // 4):
                top[4 * g], top[4 * g + 1], top[4 * g + 2], top[4 * g + 3] = load4(b, b_from + k * b_row + g * b_group)
            for i in range(TM):
                for j in range(TN):
                    sums[i * TN + j] += left[i] * top[j]

    return multiply
