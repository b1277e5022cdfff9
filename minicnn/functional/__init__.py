"""Every differentiable operation, as a pair: `y, ctx = op(x, …)` and `dx = op_backward(dy, ctx)`."""

from .activation import (
    gelu,
    gelu_backward,
    leaky_relu,
    leaky_relu_backward,
    relu,
    relu_backward,
    sigmoid,
    sigmoid_backward,
    silu,
    silu_backward,
    tanh,
    tanh_backward,
)
from .conv import conv2d, conv2d_backward
from .conv_transpose import conv_transpose2d, conv_transpose2d_backward
from .dropout import dropout, dropout_backward
from .elementwise import add, add_backward
from .interpolate import interpolate, interpolate_backward
from .linear import linear, linear_backward
from .loss import (
    binary_cross_entropy_with_logits,
    binary_cross_entropy_with_logits_backward,
    cross_entropy,
    cross_entropy_backward,
    mse_loss,
    mse_loss_backward,
    nll_loss,
    nll_loss_backward,
)
from .norm import batch_norm, batch_norm_backward
from .pooling import (
    adaptive_avg_pool2d,
    adaptive_avg_pool2d_backward,
    avg_pool2d,
    avg_pool2d_backward,
    max_pool2d,
    max_pool2d_backward,
)
from .shape import concat, concat_backward, flatten, flatten_backward, pad, pad_backward
from .softmax import log_softmax, log_softmax_backward, softmax, softmax_backward
