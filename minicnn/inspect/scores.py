"""The score of one class on one image: what Grad-CAM, saliency and occlusion start from."""

import copy
from typing import Any

import numpy as np

from ..functional import check
from ..functional.door import describe, short
from ..nn import Module

Array = np.ndarray


def one_image(operation: str, model: Any, x: Any) -> tuple[Module, Array]:
    """A copy of the model in eval mode, and the image as (1, C, H, W); `TypeError` or `ValueError` for anything else.

    >>> from minicnn import nn
    >>> one_image("saliency", nn.ReLU(), np.zeros((3, 4, 5)))[1].shape
    (1, 3, 4, 5)
    """
    if not isinstance(model, Module):
        raise TypeError(f"{operation}: model must be a Module, got {describe(model)}")
    if not isinstance(x, np.ndarray):
        raise TypeError(f"{operation}: x must be an array, got {describe(x)}")
    if x.ndim not in (3, 4) or (x.ndim == 4 and len(x) != 1) or x.size == 0:
        raise ValueError(f"{operation}: x must be one image, (C, H, W) or (1, C, H, W), got shape {short(x.shape)}")
    return copy.deepcopy(model).eval(), x if x.ndim == 4 else x[None]


def class_of(operation: str, logits: Any, target: int | None) -> int:
    """The class asked for, by default the one with the largest of the logits (1, classes).

    `ValueError` for logits of another shape, `IndexError` for a class that there is not.
    """
    if np.ndim(logits) != 2:
        raise ValueError(f"{operation}: model must return (1, classes), got shape {short(np.shape(logits))}")
    classes = logits.shape[1]
    chosen = int(np.argmax(logits)) if target is None else check.integer(operation, "target", target)
    if not 0 <= chosen < classes:
        raise IndexError(f"{operation}: target must be a class, 0 to {classes - 1}, got {short(chosen)}")
    return chosen


def one_hot(logits: Array, target: int) -> Array:
    """The gradient of the score of one class by all of them."""
    dy = np.zeros_like(logits)
    dy[0, target] = 1
    return dy
