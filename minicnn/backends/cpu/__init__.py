"""The cpu backend: the names of the reference, compiled by Numba, on all cores."""

import numpy as np

from .activation import relu_backward, relu_forward
from .conv import conv2d_forward, conv2d_input_grad, conv2d_weight_grad
from .linear import (
    add_channel_bias,
    channel_sum,
    linear_forward,
    linear_input_grad,
    linear_weight_grad,
)


def supports(dtype: np.dtype) -> bool:
    """float32 and float64 in native byte order."""
    return dtype == np.float32 or dtype == np.float64
