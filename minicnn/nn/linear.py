"""The fully connected layer."""

import math

import numpy as np

from .. import functional as F
from ..functional import check
from . import init
from .module import Module
from .parameter import Parameter

Array = np.ndarray


class Linear(Module):
    """y = x @ weight.T + bias; x (..., in_features), y (..., out_features).

    weight: (out_features, in_features); weight and bias begin uniform in ±1/√in_features, as in torch.

    >>> import numpy as np
    >>> Linear(3, 2)(np.zeros((5, 3), np.float32)).shape
    (5, 2)
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True):
        super().__init__()
        self.in_features = check.integer("Linear", "in_features", in_features, 1)
        self.out_features = check.integer("Linear", "out_features", out_features, 1)
        bias = check.flag("Linear", "bias", bias)
        self.weight = Parameter(np.empty((self.out_features, self.in_features), np.float32))
        self.register_parameter("bias", Parameter(np.empty(self.out_features, np.float32)) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weight and bias anew."""
        reset(self.weight, self.bias)

    def forward(self, x: Array) -> Array:
        y, ctx = F.linear(x, self.weight.data, data(self.bias))
        self.keep(ctx)
        return y

    def backward(self, dy: Array, need_dx: bool = True) -> Array | None:
        # forward: y = x @ weight.T + bias
        with self.kept() as ctx:
            dx, dweight, dbias = F.linear_backward(dy, ctx, needs=(need_dx, *learning(self.weight, self.bias)))
            learn(self.weight, dweight)
            learn(self.bias, dbias)
            return dx

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"


def reset(weight: Parameter, bias: Parameter | None) -> None:
    """torch's default: kaiming_uniform_ with a = √5, which is uniform in ±1/√fan_in, for weight and bias."""
    init.kaiming_uniform_(weight, a=math.sqrt(5))
    if bias is not None:
        fan_in, _ = init.fans("reset_parameters", weight)
        bound = 1 / math.sqrt(max(1, fan_in))
        init.uniform_(bias, -bound, bound)


def data(parameter: Parameter | None) -> Array | None:
    """The array of a parameter that may be left out."""
    return None if parameter is None else parameter.data


def learning(weight: Parameter | None, bias: Parameter | None) -> tuple[bool, bool]:
    """Which of the two want a gradient: those that are there and not frozen."""
    return weight is not None and weight.requires_grad, bias is not None and bias.requires_grad


def learn(parameter: Parameter | None, gradient: Array | None) -> None:
    """Add a gradient to a parameter that may be left out; None, where it was not computed, adds nothing."""
    if parameter is not None:
        parameter.accumulate(gradient)
