"""What a step calls: operator(values, out) -> array.

values: the arrays it reads. out(shape): an array to write the result into, for operators that can; the others
allocate. Whatever has no operator of its own runs through `functional`.
"""

from collections.abc import Callable

import numpy as np

from .. import functional as F
from ..backends import module_of
from .record import Node

Array = np.ndarray
Out = Callable[[tuple[int, ...]], Array]


def operator_of(node: Node) -> "Operator":
    """The operator of a node."""
    plain = len(node.shape) == 4  # whole batches of images
    if node.operation == "conv2d" and plain:
        return Convolution(node)
    if node.operation == "linear" and "weight" in node.constants and len(node.shape) == 2:
        return Linear(node)
    if node.operation == "max_pool2d" and plain and tuple(node.settings["dilation"]) == (1, 1):
        return MaxPool(node)
    if node.operation == "adaptive_avg_pool2d" and plain and node.shape[2:] == (1, 1):
        return Mean(node)
    return Operation(node)


class Operation:
    """Any operation, as `functional` computes it, and the ReLU that was folded into it."""

    writes_out = False

    def __init__(self, node: Node):
        self.function = getattr(F, node.operation)
        self.names, self.fixed = node.names, node.constants | node.settings
        self.relu = "relu" in node.fused

    def __call__(self, values: list[Array], out: Out) -> Array:
        if self.names[0] == "arrays":
            y, _ = self.function(values, **self.fixed)
        else:
            y, _ = self.function(**dict(zip(self.names, values)), **self.fixed)
        return F.relu(y)[0] if self.relu else y


class Convolution:
    """A convolution with its epilogue: y = [relu](weight ∗ x + bias [+ residual]), its weights prepared once."""

    writes_out = True

    def __init__(self, node: Node):
        weight, bias = node.constants["weight"], node.constants.get("bias")
        geometry = [node.settings[name] for name in ("stride", "padding", "dilation", "groups")]
        self.run = module_of(weight).prepare_conv2d(weight, bias, *geometry, relu="relu" in node.fused)

    def algorithm(self, shape: tuple[int, ...]) -> str:
        """What computes images of this shape."""
        return self.run.algorithm(shape)

    def __call__(self, values: list[Array], out: Out) -> Array:
        x, *residual = values
        return self.run(x, residual[0] if residual else None, out)


class Linear:
    """y = [relu](x @ weight.T + bias)"""

    writes_out = True

    def __init__(self, node: Node):
        weight, bias = node.constants["weight"], node.constants.get("bias")
        self.run = module_of(weight).prepare_linear(weight, bias, relu="relu" in node.fused)

    def __call__(self, values: list[Array], out: Out) -> Array:
        return self.run(values[0], out)


class MaxPool:
    """The largest pixel of each window; without its place, which only a backward needs."""

    writes_out = True

    def __init__(self, node: Node):
        self.window = [node.settings[name] for name in ("kernel_size", "stride", "padding")]
        self.shape = node.shape[1:]

    def __call__(self, values: list[Array], out: Out) -> Array:
        y = out((len(values[0]), *self.shape))
        module_of(y).max_pool2d_into(values[0], *self.window, y)
        return y


class Mean:
    """Adaptive average pooling to one pixel: the mean of each plane."""

    writes_out = True

    def __init__(self, node: Node): ...

    def __call__(self, values: list[Array], out: Out) -> Array:
        y = out((*values[0].shape[:2], 1, 1))
        module_of(y).mean2d_into(values[0], y)
        return y


Operator = Operation | Convolution | Linear | MaxPool | Mean
