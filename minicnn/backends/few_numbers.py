"""What reference and cpu do alike, in NumPy: the few numbers that a batch leaves behind.

On a GPU they are kernels (cuda/few_numbers.py), so that nothing waits for them.
"""

from typing import Any

import numpy as np

Array = np.ndarray
SHORT = 32  # values: up to there Python is through with a list before NumPy has begun (4 µs for two reductions)
LARGE = 3e38  # a float32 holds more: below it a number is cast without a look at overflow, which takes 1 µs


def holds(like: Array, number: float) -> bool:
    """Whether an array of the dtype of `like`, and NumPy's as that is, surely holds this number."""
    return abs(number) < LARGE and isinstance(like, np.ndarray) and like.itemsize >= 4


def reduce_losses(losses: Array, weights: Any, mean: bool) -> tuple[Any, Any]:
    """(Σ losses, divided by the divisor for the mean; the divisor Σ weights, or weights itself where it is a number).

    Summed in float64 at least, so that the rounding does not grow with the number of values.
    """
    if losses.size <= SHORT and losses.itemsize <= 8:
        divisor = sum(weights.ravel().tolist(), 0.0) if isinstance(weights, np.ndarray) else weights
        if not mean or divisor:
            loss = sum(losses.ravel().tolist(), 0.0) / (divisor if mean else 1.0)
            if holds(losses, loss):
                return losses.dtype.type(loss), divisor
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        divisor = _total(weights) if isinstance(weights, np.ndarray) else weights
        total = _total(losses)
        return losses.dtype.type(total / np.float64(divisor) if mean else total), divisor


def _total(values: Array) -> Any:
    return np.add.reduce(values, None, np.float64 if values.itemsize <= 8 else values.dtype)


def loss_scale(dy: Array, divisor: Any, shape: tuple[int, ...]) -> Array:
    """dy (0-d) / divisor in every place of an array of that shape."""
    if divisor and holds(dy, float(dy) / float(divisor)):
        return np.full(shape, float(dy) / float(divisor), dy.dtype)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        return np.full(shape, np.asarray(dy / np.asarray(divisor, np.float64), dy.dtype))
