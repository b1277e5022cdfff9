"""RMSprop."""

from typing import Any

from ..functional import check
from ..nn import Parameter
from .optimizer import Optimizer, arrays_of, at_least_0


class RMSprop(Optimizer):
    """v = αv + (1 − α)g²,  p −= lr · g / (√v + eps)

    Tieleman & Hinton 2012, lecture 6.5. g is the gradient plus weight_decay · p, with the other sign for maximize.
    centered: √(v − a²), a the running mean of g (Graves 2013). With a momentum: b = momentum·b + g / (√v + eps),
    p −= lr·b.

    >>> import numpy as np
    >>> from minicnn import nn
    >>> p = nn.Parameter(np.array([1.0]))
    >>> p.grad = np.array([5.0])
    >>> RMSprop([p], lr=0.1, alpha=0.75).step()
    >>> p.data.round(4)
    array([0.8])
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
        *,
        maximize: bool = False,
    ):
        defaults = {
            "lr": lr, "alpha": alpha, "eps": eps, "weight_decay": weight_decay, "momentum": momentum,
            "centered": centered, "maximize": maximize,
        }  # fmt: skip
        super().__init__(params, defaults)

    def _check(self, group: dict[str, Any]) -> None:
        at_least_0("RMSprop", group, "lr", "alpha", "eps", "weight_decay", "momentum")
        check.flag("RMSprop", "centered", group["centered"])
        check.flag("RMSprop", "maximize", group["maximize"])

    def _update(self, group: dict[str, Any], parameters: list[Parameter]) -> None:
        backend, data, grads = arrays_of(parameters)
        self._counted(parameters)
        squares = self._gathered(parameters, "square_avg", True)
        buffers = self._gathered(parameters, "momentum_buffer", group["momentum"] > 0)
        averages = self._gathered(parameters, "grad_avg", group["centered"])
        backend.rmsprop_step(
            data, grads, squares, buffers, averages, group["lr"], group["alpha"], group["eps"],
            group["weight_decay"], group["momentum"], group["maximize"],
        )  # fmt: skip
