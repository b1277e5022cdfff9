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


def operator_of(node: Node) -> "Operation | Convolution":
    """The operator of a node."""
    return Convolution(node) if node.operation == "conv2d" else Operation(node)


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
