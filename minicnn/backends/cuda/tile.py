"""One block of a matrix product: what gemm.py and the convolutions share.

    C[m, n] = Σ_k A[m, k] · B[k, n]

A block of threads makes BM × BN elements of C. BK columns of A and rows of B at a time, a slice, lie in shared memory:
for each k a row of BM or BN numbers. Each thread keeps TM × TN sums in registers and reads TM + TN numbers a step of k
for TM · TN multiplications (Goto & van de Geijn 2008; CUTLASS). Shared memory holds two slices: while one is
multiplied, asynchronous copies fill the other, with one barrier a slice. The numbers of the next k are read while
those of this one are multiplied.

Each sum runs over k in order, in one thread, so results repeat to the bit.
"""

from typing import NamedTuple

from numba import cuda, int32

from .launch import SIMULATED, device
from .moves import copy16_async, copy_async
from .vector import load4, store4

PAD = 4  # added to a row of shared memory: lanes that store along k then meet at most in pairs in a bank


class Tile(NamedTuple):
    """Sizes of a block and of a thread's part of it."""

    BM: int  # rows of C
    BN: int  # columns of C
    BK: int  # steps of k held at a time, an even number
    TM: int = 8  # rows a thread, in groups of four neighbours
    TN: int = 8  # columns a thread, likewise

    @property
    def threads(self):
        return self.BM * self.BN // (self.TM * self.TN)

    @property
    def bounds(self):
        """(threads, blocks a multiprocessor holds): 512 threads with 128 registers each, 256 with 255 in float64."""
        return self.threads, (512 if self.BK > 8 else 256) // self.threads


# 16 steps of float32 or 8 of float64: 33 KiB of shared memory for two slices. The simulator starts a Python thread for
# each thread: the same kernels at four threads a block.
TILES: dict[int, tuple[Tile, ...]] = {
    4: (Tile(128, 128, 16), Tile(64, 128, 16), Tile(32, 128, 16, 4, 8)),
    8: (Tile(128, 128, 8), Tile(64, 128, 8), Tile(32, 128, 8, 4, 8)),
}
if SIMULATED:
    TILES = {4: (Tile(16, 16, 4),), 8: (Tile(16, 16, 4),)}


def tile_for(rows, dtype):
    """The tile with the fewest rows that hold `rows`, or the largest: by the shape alone."""
    tiles = TILES[dtype.itemsize]
    return next((tile for tile in reversed(tiles) if rows <= tile.BM), tiles[0])


def make_multiply(tile, dtype):
    """multiply(a, a_at, b, b_at, sums): sums[i · TN + j] += Σ_k a[k, row(i)] · b[k, column(j)], over one slice.

    The rows and columns of a thread come in groups of four neighbours, so that 16 bytes are read at once, and threads
    side by side read side by side: row i of a thread is i // 4 · 4·BM/TM + 4·(its place) + i % 4 of the block.
    """
    BM, BN, BK, TM, TN = tile
    a_row, b_row = BM + PAD, BN + PAD
    a_group, b_group = 4 * BM // TM, 4 * BN // TN  # from one group of four to the thread's next
    across = BN // TN  # threads side by side

    @device
    def fetch(a, a_at, b, b_at, left, top):
        for g in range(TM // 4):
            left[4 * g], left[4 * g + 1], left[4 * g + 2], left[4 * g + 3] = load4(a, a_at + g * a_group)
        for g in range(TN // 4):
            top[4 * g], top[4 * g + 1], top[4 * g + 2], top[4 * g + 3] = load4(b, b_at + g * b_group)

    @device
    def rank1(left, top, sums):
        for i in range(TM):
            for j in range(TN):
                sums[i * TN + j] += left[i] * top[j]

    @device
    def multiply(a, a_at, b, b_at, sums):
        left, top = cuda.local.array(TM, dtype), cuda.local.array(TN, dtype)
        next_left, next_top = cuda.local.array(TM, dtype), cuda.local.array(TN, dtype)
        a_at += cuda.threadIdx.x // across * 4
        b_at += cuda.threadIdx.x % across * 4
        fetch(a, a_at, b, b_at, left, top)
        for k in range(0, BK, 2):
            fetch(a, a_at + (k + 1) * a_row, b, b_at + (k + 1) * b_row, next_left, next_top)
            rank1(left, top, sums)
            after = min(k + 2, BK - 1)  # the last reads a row again that nobody needs
            fetch(a, a_at + after * a_row, b, b_at + after * b_row, left, top)
            rank1(next_left, next_top, sums)

    return multiply


def make_copy(tile, across, layout, dtype):
    """copy(to, to_at, source, at, x_step, k_step, x_left, k_left): a slice of A (x its rows) or B (x its columns).

    Element (x, k) lies at `at` + x · x_step + k · k_step and goes to shared[k, x]; those from x_left or k_left on do
    not exist and become zeros. The layout says which neighbours a warp reads: "k" along k, "x" along x, "x16" along x
    16 bytes at a time (x_step 1, `at` and k_step multiples of 16 bytes).
    """
    BK, threads, row = tile.BK, tile.threads, across + PAD
    lanes = 16 // dtype.itemsize

    @device
    def copy_along_k(to, to_at, source, at, x_step, k_step, x_left, k_left):
        for r in range(across * BK // threads):
            flat = cuda.threadIdx.x + r * threads
            x, k = flat // BK, flat % BK
            inside = x < x_left and k < k_left
            copy_async(to, to_at + k * row + x, source, at + int32(x * x_step + k * k_step), inside)

    @device
    def copy_along_x(to, to_at, source, at, x_step, k_step, x_left, k_left):
        for r in range(across * BK // threads):
            flat = cuda.threadIdx.x + r * threads
            x, k = flat % across, flat // across
            inside = x < x_left and k < k_left
            copy_async(to, to_at + k * row + x, source, at + int32(x * x_step + k * k_step), inside)

    @device
    def copy_along_x_by_16(to, to_at, source, at, x_step, k_step, x_left, k_left):
        for r in range(across * BK // threads // lanes):
            flat = cuda.threadIdx.x + r * threads
            x, k = flat % (across // lanes) * lanes, flat // (across // lanes)
            count = max(min(x_left - x, lanes), 0) if k < k_left else 0
            copy16_async(to, to_at + k * row + x, source, at + int32(x + k * k_step), count)

    return {"k": copy_along_k, "x": copy_along_x, "x16": copy_along_x_by_16}[layout]


def make_store(tile):
    """store(y, at, step, rows_left, columns_left, whole, sums): y[at + m · step + n] = C[m, n] where that exists.

    whole: columns_left and step are multiples of four, and 16 bytes can be written at once.
    """
    BM, BN, _, TM, TN = tile

    @device
    def store(y, at, step, rows_left, columns_left, whole, sums):
        for i in range(TM):
            m = i // 4 * (4 * BM // TM) + cuda.threadIdx.x // (BN // TN) * 4 + i % 4
            for g in range(TN // 4):
                n = g * (4 * BN // TN) + cuda.threadIdx.x % (BN // TN) * 4
                to, s = at + m * step + n, i * TN + 4 * g
                if whole and m < rows_left and n < columns_left:
                    store4(y, to, sums[s], sums[s + 1], sums[s + 2], sums[s + 3])
                elif m < rows_left:
                    for q in range(4):
                        if n + q < columns_left:
                            y[to + q] = sums[s + q]

    return store
