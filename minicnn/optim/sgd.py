"""Stochastic gradient descent."""

from typing import Any

from ..functional import check
from ..nn import Parameter
from .optimizer import Optimizer, arrays_of, at_least_0


class SGD(Optimizer):
    """p −= lr · b with b = momentum·b + (1 − dampening)·g, in the first step b = g; momentum 0: b = g.

    g is the gradient plus weight_decay · p, with the other sign for maximize. nesterov (needs a momentum and no
    dampening): p −= lr · (g + momentum·b). Sutskever, Martens, Dahl & Hinton 2013.

    >>> import numpy as np
    >>> from minicnn import nn
    >>> p = nn.Parameter(np.array([1.0]))
    >>> optimizer = SGD([p], lr=0.5, momentum=0.5)
    >>> for _ in range(2):
    ...     p.grad = np.array([1.0])
    ...     optimizer.step()
    >>> p.data
    array([-0.25])
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
    ):
        defaults = {
            "lr": lr, "momentum": momentum, "dampening": dampening, "weight_decay": weight_decay,
            "nesterov": nesterov, "maximize": maximize,
        }  # fmt: skip
        super().__init__(params, defaults)

    def _check(self, group: dict[str, Any]) -> None:
        at_least_0("SGD", group, "lr", "momentum", "weight_decay")
        dampening = check.real("SGD", "dampening", group["dampening"])
        check.flag("SGD", "maximize", group["maximize"])
        if check.flag("SGD", "nesterov", group["nesterov"]) and not (group["momentum"] > 0 and dampening == 0):
            raise ValueError(
                f"SGD: nesterov needs a momentum above 0 and dampening 0, got {group['momentum']} and {dampening}"
            )

    def _update(self, group: dict[str, Any], parameters: list[Parameter]) -> None:
        backend, data, grads = arrays_of(parameters)
        wanted = group["momentum"] != 0
        first = [self.state.get(p, {}).get("momentum_buffer") is None for p in parameters]
        buffers = self._gathered(parameters, "momentum_buffer", wanted)
        backend.sgd_step(
            data, grads, buffers, first, group["lr"], group["momentum"], group["dampening"], group["weight_decay"],
            group["nesterov"], group["maximize"],
        )  # fmt: skip
