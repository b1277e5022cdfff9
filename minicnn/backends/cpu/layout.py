"""The one layout that kernels take arrays in."""

import numpy as np


def canonical(x: np.ndarray) -> np.ndarray:
    """x itself if it is a plain, aligned, writable, C-contiguous array, else such a copy.

    Each further layout or a read-only flag would be another type to Numba and another compilation of every kernel.
    """
    return x if x.flags.carray and type(x) is np.ndarray else np.array(x, order="C", subok=False)
