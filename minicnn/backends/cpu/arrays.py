"""Arrays as the kernels want them."""

import numpy as np

from .cache import kernel

CHUNK = 8192  # elements a task of an elementwise loop: 32 KiB of float32, so that what a task touches stays in L1/L2


def canonical(x: np.ndarray) -> np.ndarray:
    """x itself if it is a plain, aligned, writable, C-contiguous array, else such a copy.

    Each further layout or a read-only flag would be another type to Numba and another compilation of every kernel.
    """
    return x if x.flags.carray and type(x) is np.ndarray else np.array(x, order="C", subok=False)


@kernel
def parts(size):
    """How many chunks a flat array is cut into: by its size alone, whatever the number of threads."""
    return (size + CHUNK - 1) // CHUNK


@kernel
def part(x, chunk):
    """That chunk of a flat array, as a slice."""
    return x[chunk * CHUNK : (chunk + 1) * CHUNK]
