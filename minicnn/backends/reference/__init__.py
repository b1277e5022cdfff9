"""The reference backend: NumPy, written to be read and stepped through. Any floating dtype, no cleverness."""

import numpy as np

from ..few_numbers import loss_scale, reduce_losses
from .activation import *  # noqa: F403
from .conv import conv2d_forward, conv2d_input_grad, conv2d_weight_grad
from .elementwise import *  # noqa: F403
from .interpolate import blend2d_forward, blend2d_input_grad
from .linear import *  # noqa: F403
from .loss import *  # noqa: F403
from .norm import *  # noqa: F403
from .optim import adam_step, rmsprop_step, sgd_step
from .pooling import (
    adaptive_avg_pool2d_forward,
    adaptive_avg_pool2d_input_grad,
    avg_pool2d_forward,
    avg_pool2d_input_grad,
    max_pool2d_forward,
    max_pool2d_input_grad,
)
from .prepared import max_pool2d_into, mean2d_into, prepare_conv2d, prepare_linear
from .shape import (
    concat_backward,
    concat_forward,
    pad_forward,
    pad_input_grad,
    take2d_forward,
    take2d_input_grad,
)
from .softmax import *  # noqa: F403


def supports(dtype: np.dtype) -> bool:
    """Every floating dtype."""
    return np.issubdtype(dtype, np.floating)
