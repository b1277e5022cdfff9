"""Working memory that is reused from call to call: a fresh large array would cost a page fault every 4 KiB."""

import threading

import numpy as np

ALIGNMENT = 64  # bytes: a cache line and the widest vector
_local = threading.local()  # two threads may compute at once, so each has its own


def scratch(dtype, size: int) -> np.ndarray:
    """A flat array of at least `size` elements, aligned to cache lines, with any content.

    It is good until the next call from the same thread: one operation asks once and cuts what it gets into pieces.
    """
    held = _local.__dict__
    array = held.get(dtype)
    if array is None or array.size < size:
        held.pop(dtype, None)  # give the old one back before the new one is taken
        itemsize = np.dtype(dtype).itemsize
        raw = np.empty((size + 1024) * itemsize + ALIGNMENT, np.uint8)
        first = -raw.ctypes.data % ALIGNMENT
        array = held[dtype] = raw[first : first + (size + 1024) * itemsize].view(dtype)
    return array


def odd_lines(count: int, lanes: int) -> int:
    """count rounded up to an odd number of vectors: rows of this length spread over all sets of the L1 cache.

    Steps of a multiple of 4 KiB put them all into one: the input transform of Winograd then takes 4 times as long.
    """
    return (-(-count // lanes) | 1) * lanes
