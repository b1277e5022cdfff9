"""What reference and cpu do alike, in NumPy: the few numbers that a batch leaves behind.

On a GPU they are kernels (cuda/few_numbers.py), so that nothing waits for them.
"""

from typing import Any

import numpy as np

Array = np.ndarray


def reduce_losses(losses: Array, weights: Any, mean: bool) -> tuple[Any, Any]:
    """(Σ losses, divided by the divisor for the mean; the divisor Σ weights, or weights itself where it is a number).

    Summed in float64 at least, so that the rounding does not grow with the number of values.
    """
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        divisor = _total(weights) if isinstance(weights, np.ndarray) else weights
        total = _total(losses)
        return losses.dtype.type(total / np.float64(divisor) if mean else total), divisor


def _total(values: Array) -> Any:
    return np.add.reduce(values, None, np.float64 if values.itemsize <= 8 else values.dtype)


def loss_scale(dy: Array, divisor: Any, shape: tuple[int, ...]) -> Array:
    """dy (0-d) / divisor in every place of an array of that shape."""
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        return np.full(shape, np.asarray(dy / np.asarray(divisor, np.float64), dy.dtype))


def batch_norm_move(
    running_mean: Array, running_var: Array, mean: Array, var: Array, momentum: float, correction: float
) -> None:
    """new = (1 − momentum) · old + momentum · batch, in place; the variance of the batch times the correction."""
    with np.errstate(invalid="ignore", over="ignore"):
        running_mean[...] = (1 - momentum) * running_mean + momentum * mean
        running_var[...] = (1 - momentum) * running_var + momentum * var * correction
