"""Nonlinearities as layers. `inplace` is accepted, as in torch, and changes nothing: every output is a new array."""

import numpy as np

from .. import functional as F
from ..functional import check
from .module import Module

Array = np.ndarray


class ReLU(Module):
    """y = max(x, 0)

    >>> import numpy as np
    >>> ReLU()(np.array([-1.0, 2.0]))
    array([0., 2.])
    """

    def __init__(self, inplace: bool = False):
        super().__init__()

    def forward(self, x: Array) -> Array:
        y, ctx = F.relu(x)
        self.keep(ctx)
        return y

    def backward(self, dy: Array, need_dx: bool = True) -> Array:
        # forward: y = x where x > 0, else 0
        with self.kept() as ctx:
            return F.relu_backward(dy, ctx)


class LeakyReLU(Module):
    """y = x where x > 0, else negative_slope · x

    >>> import numpy as np
    >>> LeakyReLU(0.5)(np.array([-1.0, 2.0]))
    array([-0.5,  2. ])
    """

    def __init__(self, negative_slope: float = 0.01, inplace: bool = False):
        super().__init__()
        self.negative_slope = check.real("LeakyReLU", "negative_slope", negative_slope)

    def forward(self, x: Array) -> Array:
        y, ctx = F.leaky_relu(x, self.negative_slope)
        self.keep(ctx)
        return y

    def backward(self, dy: Array, need_dx: bool = True) -> Array:
        # forward: y = x where x > 0, else slope · x
        with self.kept() as ctx:
            return F.leaky_relu_backward(dy, ctx)

    def extra_repr(self) -> str:
        return f"negative_slope={self.negative_slope}"


class Sigmoid(Module):
    """y = 1 / (1 + exp(−x))

    >>> import numpy as np
    >>> Sigmoid()(np.zeros(1))
    array([0.5])
    """

    def forward(self, x: Array) -> Array:
        y, ctx = F.sigmoid(x)
        self.keep(ctx)
        return y

    def backward(self, dy: Array, need_dx: bool = True) -> Array:
        # forward: y = 1 / (1 + exp(−x))
        with self.kept() as ctx:
            return F.sigmoid_backward(dy, ctx)


class Tanh(Module):
    """y = tanh(x)

    >>> import numpy as np
    >>> Tanh()(np.zeros(1))
    array([0.])
    """

    def forward(self, x: Array) -> Array:
        y, ctx = F.tanh(x)
        self.keep(ctx)
        return y

    def backward(self, dy: Array, need_dx: bool = True) -> Array:
        # forward: y = tanh(x)
        with self.kept() as ctx:
            return F.tanh_backward(dy, ctx)


class GELU(Module):
    """y = x · Φ(x), Φ the normal distribution; approximate="tanh" takes the usual approximation of it.

    >>> import numpy as np
    >>> GELU()(np.ones(1)).round(4)
    array([0.8413])
    """

    def __init__(self, approximate: str = "none"):
        super().__init__()
        self.approximate = check.choice("GELU", "approximate", approximate, ("none", "tanh"))

    def forward(self, x: Array) -> Array:
        y, ctx = F.gelu(x, self.approximate)
        self.keep(ctx)
        return y

    def backward(self, dy: Array, need_dx: bool = True) -> Array:
        # forward: y = x · Φ(x)
        with self.kept() as ctx:
            return F.gelu_backward(dy, ctx)

    def extra_repr(self) -> str:
        return f"approximate={self.approximate!r}"


class SiLU(Module):
    """y = x · sigmoid(x)

    >>> import numpy as np
    >>> SiLU()(np.ones(1)).round(4)
    array([0.7311])
    """

    def __init__(self, inplace: bool = False):
        super().__init__()

    def forward(self, x: Array) -> Array:
        y, ctx = F.silu(x)
        self.keep(ctx)
        return y

    def backward(self, dy: Array, need_dx: bool = True) -> Array:
        # forward: y = x · sigmoid(x)
        with self.kept() as ctx:
            return F.silu_backward(dy, ctx)


class Softmax(Module):
    """y = exp(x) / Σ exp(x) along axis `dim`.

    dim None chooses as torch does: axis 0 for 0, 1 or 3 dimensions, else axis 1.

    >>> import numpy as np
    >>> Softmax(dim=1)(np.zeros((1, 4)))
    array([[0.25, 0.25, 0.25, 0.25]])
    """

    def __init__(self, dim: int | None = None):
        super().__init__()
        self.dim = dim if dim is None else check.integer("Softmax", "dim", dim)

    def forward(self, x: Array) -> Array:
        y, ctx = F.softmax(x, softmax_axis(x, self.dim))
        self.keep(ctx)
        return y

    def backward(self, dy: Array, need_dx: bool = True) -> Array:
        # forward: y = exp(x) / Σ exp(x)
        with self.kept() as ctx:
            return F.softmax_backward(dy, ctx)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class LogSoftmax(Module):
    """y = x − log Σ exp(x) along axis `dim`; None as for Softmax.

    >>> import numpy as np
    >>> LogSoftmax(dim=1)(np.zeros((1, 2))).round(4)
    array([[-0.6931, -0.6931]])
    """

    def __init__(self, dim: int | None = None):
        super().__init__()
        self.dim = dim if dim is None else check.integer("LogSoftmax", "dim", dim)

    def forward(self, x: Array) -> Array:
        y, ctx = F.log_softmax(x, softmax_axis(x, self.dim))
        self.keep(ctx)
        return y

    def backward(self, dy: Array, need_dx: bool = True) -> Array:
        # forward: y = x − log Σ exp(x)
        with self.kept() as ctx:
            return F.log_softmax_backward(dy, ctx)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


def softmax_axis(x: Array, dim: int | None) -> int:
    """The axis that torch takes where none was given."""
    return (0 if np.ndim(x) in (0, 1, 3) else 1) if dim is None else dim
