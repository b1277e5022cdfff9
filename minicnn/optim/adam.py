"""Adam and AdamW."""

from typing import Any

from ..functional import check
from ..functional.door import short
from ..nn import Parameter
from .optimizer import Optimizer, arrays_of, at_least_0


class Adam(Optimizer):
    """m = β₁m + (1 − β₁)g,  v = β₂v + (1 − β₂)g²,  p −= lr · m/(1 − β₁ᵗ) / (√(v/(1 − β₂ᵗ)) + eps)

    Kingma & Ba 2015. betas: (β₁, β₂). g is the gradient plus weight_decay · p, with the other sign for maximize.
    amsgrad: the largest v so far takes the place of v (Reddi, Kale & Kumar 2018).

    >>> import numpy as np
    >>> from minicnn import nn
    >>> p = nn.Parameter(np.array([1.0]))
    >>> p.grad = np.array([5.0])
    >>> Adam([p], lr=0.1).step()
    >>> p.data.round(4)
    array([0.9])
    """

    decoupled = False  # whether weight decay shrinks p itself

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
    ):
        defaults = {
            "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "amsgrad": amsgrad,
            "maximize": maximize,
        }  # fmt: skip
        super().__init__(params, defaults)

    def _check(self, group: dict[str, Any]) -> None:
        at_least_0(self._name, group, "lr", "eps", "weight_decay")
        betas = group["betas"]
        if not isinstance(betas, (tuple, list)) or len(betas) != 2:
            raise ValueError(f"{self._name}: betas must be two numbers, got {short(betas)}")
        for beta in betas:
            if not 0 <= check.real(self._name, "betas", beta) < 1:
                raise ValueError(f"{self._name}: betas must be at least 0 and below 1, got {short(betas)}")
        check.flag(self._name, "amsgrad", group["amsgrad"])
        check.flag(self._name, "maximize", group["maximize"])

    def _update(self, group: dict[str, Any], parameters: list[Parameter]) -> None:
        backend, data, grads = arrays_of(parameters)
        steps = self._counted(parameters)
        means = self._gathered(parameters, "exp_avg", True)
        squares = self._gathered(parameters, "exp_avg_sq", True)
        largest = self._gathered(parameters, "max_exp_avg_sq", group["amsgrad"])
        backend.adam_step(
            data, grads, means, squares, largest, steps, group["lr"], group["betas"], group["eps"],
            group["weight_decay"], self.decoupled, group["maximize"],
        )  # fmt: skip


class AdamW(Adam):
    """Adam with decoupled weight decay: p *= 1 − lr · weight_decay before the step (Loshchilov & Hutter 2019)."""

    decoupled = True

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
    ):
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, maximize=maximize)
