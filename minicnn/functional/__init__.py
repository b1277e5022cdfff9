"""Every differentiable operation, as a pair: `y, ctx = op(x, …)` and `dx = op_backward(dy, ctx)`."""

from .activation import relu, relu_backward
from .linear import linear, linear_backward
