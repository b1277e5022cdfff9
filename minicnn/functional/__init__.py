"""Every differentiable operation, as a pair: `y, ctx = op(x, …)` and `dx = op_backward(dy, ctx)`."""

from .activation import relu, relu_backward
from .conv import conv2d, conv2d_backward
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
