"""Losses as modules: `loss = criterion(y, target)`, then `dy = criterion.backward()`."""

from typing import Any

import numpy as np

from .. import functional as F
from ..functional import check
from ..functional.door import describe
from ..functional.loss import REDUCTIONS
from .module import Module

Array = np.ndarray


class CrossEntropyLoss(Module):
    """The cross-entropy of softmax(logits) with class indices or probabilities; see `functional.cross_entropy`.

    weight: (C,), scales the classes; a buffer, of the dtype of the logits. Settings after weight go by name.

    >>> import numpy as np
    >>> criterion = CrossEntropyLoss()
    >>> round(float(criterion(np.zeros((1, 2)), np.array([0]))), 4)
    0.6931
    >>> criterion.backward()
    array([[-0.5,  0.5]])
    """

    def __init__(
        self,
        weight: Array | None = None,
        *,
        ignore_index: int = -100,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ):
        super().__init__()
        self.register_buffer("weight", class_weight("CrossEntropyLoss", weight))
        self.ignore_index = check.integer("CrossEntropyLoss", "ignore_index", ignore_index)
        self.reduction = check.choice("CrossEntropyLoss", "reduction", reduction, REDUCTIONS)
        self.label_smoothing = check.real("CrossEntropyLoss", "label_smoothing", label_smoothing)
        if not 0 <= self.label_smoothing <= 1:
            raise ValueError(f"CrossEntropyLoss: label_smoothing must be 0 to 1, got {self.label_smoothing}")

    def forward(self, logits: Array, target: Array) -> Any:
        loss, ctx = F.cross_entropy(
            logits, target, self.weight, self.ignore_index, self.reduction, self.label_smoothing
        )
        self.keep(ctx)
        return loss

    def backward(self, dy: Any = 1.0, need_dx: bool = True) -> Array:
        """dL/dlogits; dy is the gradient of the loss itself."""
        with self.kept() as ctx:
            return F.cross_entropy_backward(dy, ctx)


class NLLLoss(Module):
    """−log_probs at the target class; see `functional.nll_loss`. Settings after weight go by name.

    >>> import numpy as np
    >>> float(NLLLoss()(np.array([[-0.25, -1.5]]), np.array([1])))
    1.5
    """

    def __init__(self, weight: Array | None = None, *, ignore_index: int = -100, reduction: str = "mean"):
        super().__init__()
        self.register_buffer("weight", class_weight("NLLLoss", weight))
        self.ignore_index = check.integer("NLLLoss", "ignore_index", ignore_index)
        self.reduction = check.choice("NLLLoss", "reduction", reduction, REDUCTIONS)

    def forward(self, log_probs: Array, target: Array) -> Any:
        loss, ctx = F.nll_loss(log_probs, target, self.weight, self.ignore_index, self.reduction)
        self.keep(ctx)
        return loss

    def backward(self, dy: Any = 1.0, need_dx: bool = True) -> Array:
        """dL/dlog_probs; dy is the gradient of the loss itself."""
        with self.kept() as ctx:
            return F.nll_loss_backward(dy, ctx)


class MSELoss(Module):
    """(x − target)², by default their mean.

    >>> import numpy as np
    >>> criterion = MSELoss()
    >>> float(criterion(np.array([1.0, 3.0]), np.array([0.0, 0.0])))
    5.0
    >>> criterion.backward()
    array([1., 3.])
    """

    def __init__(self, *, reduction: str = "mean"):
        super().__init__()
        self.reduction = check.choice("MSELoss", "reduction", reduction, REDUCTIONS)

    def forward(self, x: Array, target: Array) -> Any:
        loss, ctx = F.mse_loss(x, target, self.reduction)
        self.keep(ctx)
        return loss

    def backward(self, dy: Any = 1.0, need_dx: bool = True) -> Array:
        """dL/dx; dy is the gradient of the loss itself."""
        with self.kept() as ctx:
            return F.mse_loss_backward(dy, ctx)


class BCEWithLogitsLoss(Module):
    """Binary cross-entropy of sigmoid(x) with targets in [0, 1], by default the mean.

    >>> import numpy as np
    >>> round(float(BCEWithLogitsLoss()(np.zeros(2), np.ones(2))), 4)
    0.6931
    """

    def __init__(self, *, reduction: str = "mean"):
        super().__init__()
        self.reduction = check.choice("BCEWithLogitsLoss", "reduction", reduction, REDUCTIONS)

    def forward(self, x: Array, target: Array) -> Any:
        loss, ctx = F.binary_cross_entropy_with_logits(x, target, self.reduction)
        self.keep(ctx)
        return loss

    def backward(self, dy: Any = 1.0, need_dx: bool = True) -> Array:
        """dL/dx; dy is the gradient of the loss itself."""
        with self.kept() as ctx:
            return F.binary_cross_entropy_with_logits_backward(dy, ctx)


def class_weight(name: str, weight: Array | None) -> Array | None:
    """One weight a class, or None."""
    if weight is not None and (not isinstance(weight, np.ndarray) or weight.dtype.kind != "f" or weight.ndim != 1):
        raise TypeError(f"{name}: weight must be an array of floats, one a class, got {describe(weight)}")
    return weight
