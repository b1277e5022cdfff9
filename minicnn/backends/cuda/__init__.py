"""The cuda backend: the names of the reference as numba-cuda kernels over CuPy arrays.

In numba-cuda's simulator (NUMBA_ENABLE_CUDASIM=1 before the first import of numba) the same kernels run on NumPy
arrays, thousands of times slower: to check their arithmetic where there is no GPU.
"""

import numpy as np

from .activation import *  # noqa: F403


def supports(dtype: np.dtype) -> bool:
    """float32 and float64 in native byte order."""
    return dtype == np.float32 or dtype == np.float64
