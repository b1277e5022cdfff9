"""Sums and maxima over the threads of a warp or a block, always in the same order: results repeat bit for bit.

Within a warp values travel between registers (shuffles): after five exchanges with the neighbour 16, 8, 4, 2, 1 lanes
away every lane holds the same sum. All threads of the block must call these together.
"""

import numpy as np
from numba import cuda

from .arrays import BLOCK
from .launch import SIMULATED, WARP, device

WARPS = BLOCK // WARP  # in a block

if SIMULATED:

    @device
    def shuffle_xor(value, distance):
        """The value of the lane whose number differs in this bit; the simulator has no shuffles."""
        mailbox = cuda.shared.array(1024, np.float64)
        mailbox[cuda.threadIdx.x] = value
        cuda.syncthreads()
        other = type(value)(mailbox[cuda.threadIdx.x ^ distance])
        cuda.syncthreads()
        return other

else:

    @device
    def shuffle_xor(value, distance):
        """The value of the lane whose number differs in this bit."""
        return cuda.shfl_xor_sync(0xFFFFFFFF, value, distance)


@device
def larger(a, b):
    """The larger of two; NaN where either is."""
    return a if a > b or a != a else b


@device
def warp_sum(value):
    """The sum over the 32 lanes, in all of them."""
    value = value + shuffle_xor(value, 16)
    value = value + shuffle_xor(value, 8)
    value = value + shuffle_xor(value, 4)
    value = value + shuffle_xor(value, 2)
    return value + shuffle_xor(value, 1)


@device
def warp_max(value):
    """The maximum over the 32 lanes, in all of them; NaN where one is."""
    value = larger(value, shuffle_xor(value, 16))
    value = larger(value, shuffle_xor(value, 8))
    value = larger(value, shuffle_xor(value, 4))
    value = larger(value, shuffle_xor(value, 2))
    return larger(value, shuffle_xor(value, 1))


@device
def block_sum(value):
    """The sum of a float64 over a one-dimensional block of BLOCK threads, in all of them."""
    sums = cuda.shared.array(WARPS, np.float64)
    value = warp_sum(value)
    if cuda.threadIdx.x % WARP == 0:
        sums[cuda.threadIdx.x // WARP] = value
    cuda.syncthreads()
    total = np.float64(0)
    for warp in range(WARPS):
        total += sums[warp]
    cuda.syncthreads()  # before the next call writes to it
    return total
