"""The cuda backend: the names of the reference as numba-cuda kernels over CuPy arrays.

In numba-cuda's simulator (NUMBA_ENABLE_CUDASIM=1 before the first import of numba) the same kernels run on NumPy
arrays, thousands of times slower: to check their arithmetic where there is no GPU.
"""

import numpy as np

from . import graph
from .activation import (
    gelu_backward,
    gelu_forward,
    leaky_relu_backward,
    leaky_relu_forward,
    relu_backward,
    relu_forward,
    sigmoid_backward,
    sigmoid_forward,
    silu_backward,
    silu_forward,
    tanh_backward,
    tanh_forward,
)
from .conv import conv2d_forward, conv2d_input_grad, conv2d_weight_grad
from .elementwise import add_forward, dropout_forward
from .few_numbers import batch_norm_move, loss_scale, reduce_losses
from .interpolate import blend2d_forward, blend2d_input_grad
from .linear import (
    add_channel_bias,
    channel_sum,
    linear_forward,
    linear_input_grad,
    linear_weight_grad,
)
from .loss import (
    bce_with_logits_backward,
    bce_with_logits_forward,
    cross_entropy_backward,
    cross_entropy_forward,
    mse_loss_backward,
    mse_loss_forward,
    nll_loss_backward,
    nll_loss_forward,
)
from .norm import (
    batch_norm_eval_backward,
    batch_norm_eval_forward,
    batch_norm_relu_backward,
    batch_norm_relu_forward,
    batch_norm_train_backward,
    batch_norm_train_forward,
)
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
from .softmax import (
    log_softmax_backward,
    log_softmax_forward,
    softmax_backward,
    softmax_forward,
)


def supports(dtype: np.dtype) -> bool:
    """float32 and float64 in native byte order."""
    return dtype == np.float32 or dtype == np.float64
