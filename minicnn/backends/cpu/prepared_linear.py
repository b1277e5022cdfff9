"""Linear layers with fixed weights, which are packed once for the microkernel."""

import numpy as np

from .native import Kernel
from .processor import NV, VECTOR_BYTES

ROWS = 32  # images a task

_linear = Kernel("prepared_linear_kernels", "linear")


def pack_linear(weight):
    """weight (R, K) as (panels, K, NR), flat: a panel is as many outputs as the microkernel has columns."""
    (R, K), nr = weight.shape, NV * VECTOR_BYTES // weight.itemsize
    packed = np.zeros((-(-R // nr) * nr, K), weight.dtype)
    packed[:R] = weight
    return np.ascontiguousarray(packed.reshape(-1, nr, K).swapaxes(1, 2)).reshape(-1)


def linear(x, packed, bias, relu, y):
    """y (M, R) = [relu](x (M, K) @ weight.T + bias), packed = pack_linear(weight)"""
    (M, K), R = x.shape, y.shape[1]
    nr = NV * VECTOR_BYTES // x.itemsize
    _linear(x.dtype, x.reshape(-1), packed, bias, relu, y.reshape(-1), (M, K, R), (ROWS, nr))
