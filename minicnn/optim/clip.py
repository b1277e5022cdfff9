"""Clipping of gradients."""

from collections.abc import Iterable

import numpy as np

from ..functional import check
from ..functional.door import describe
from ..nn import Parameter


def clip_grad_norm_(
    parameters: Parameter | Iterable[Parameter],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
) -> float:
    """Scale all gradients by max_norm / (norm + 1e-6) where that is below 1; returns the norm before.

    norm: of all gradients together as one vector, the norm_type-norm (2, inf for the largest element, …). Parameters
    without a gradient count nothing. A norm that is not finite scales as in torch, or is a `RuntimeError` (and nothing
    changes) with error_if_nonfinite. Pascanu, Mikolov & Bengio 2013.

    >>> import numpy as np
    >>> from minicnn import nn
    >>> p = nn.Parameter(np.zeros(2))
    >>> p.grad = np.array([3.0, 4.0])
    >>> clip_grad_norm_([p], 1.0)
    5.0
    >>> p.grad.round(4)
    array([0.6, 0.8])
    """
    name = "clip_grad_norm_"
    chosen = [parameters] if isinstance(parameters, Parameter) else list(parameters)
    for parameter in chosen:
        if not isinstance(parameter, Parameter):
            raise TypeError(f"{name}: parameters must be Parameters, got {describe(parameter)}")
    max_norm, norm_type = check.real(name, "max_norm", max_norm), check.real(name, "norm_type", norm_type)
    if not norm_type > 0:
        raise ValueError(f"{name}: norm_type must be above 0, got {norm_type}")
    active = [parameter for parameter in chosen if parameter.grad is not None]
    norm = _norm([parameter.grad for parameter in active], norm_type)  # type: ignore[misc]
    if error_if_nonfinite and not np.isfinite(norm):
        raise RuntimeError(f"{name}: the norm of the gradients must be finite, got {norm}")
    scale = np.minimum(max_norm / (norm + 1e-6), 1.0)  # NaN stays NaN
    if scale != 1.0:
        for parameter in active:
            parameter.grad = parameter.grad * parameter.dtype.type(scale)
    return norm


def _norm(grads: list[np.ndarray], order: float) -> float:
    """The norm of all elements, summed in float64."""
    if order == np.inf:
        return float(np.max([float(np.abs(grad).max()) for grad in grads if grad.size], initial=0.0))
    return float(sum(np.sum(np.abs(grad, dtype=np.float64) ** order) for grad in grads) ** (1 / order))
