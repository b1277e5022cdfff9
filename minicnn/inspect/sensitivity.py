"""saliency: how much the score of a class moves with each pixel (Simonyan et al. 2014, section 3).

map[i, j] = max_c |∂y_target / ∂x[c, i, j]|
"""

from typing import Any

import numpy as np

from ..nn import Module
from .scores import class_of, one_hot, one_image

Array = np.ndarray


def saliency(model: Module, x: Array, target: int | None = None) -> Array:
    """A map (H, W) of the size of the image: large where a small change moves the score of the class most.

    x: one image, (C, H, W) or (1, C, H, W), as the model takes it. target: the class, by default the one that the
    model finds. The score is the logit, before any softmax. Runs a copy of the model in eval mode.
    `TypeError`, `ValueError` and `IndexError` for other arguments.

    >>> from minicnn import nn
    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2, bias=False))
    >>> model[1].weight.data[...] = [[1, -2, 0, 3], [0, 0, 0, 0]]
    >>> saliency(model, np.ones((1, 2, 2), np.float32), target=0)
    array([[1., 2.],
           [0., 3.]], dtype=float32)
    """
    twin, image = one_image("saliency", model, x)
    logits = twin(image)
    dx: Any = twin.backward(one_hot(logits, class_of("saliency", logits, target)))
    return np.abs(dx[0]).max(axis=0)
