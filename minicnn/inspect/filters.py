"""filter_pictures: the filters of a convolution as images."""

from typing import Any

import numpy as np

from ..functional.door import describe, short
from ..nn import Module

Array = np.ndarray


def filter_pictures(layer: Module | Array) -> Array:
    """The weights (F, C, kh, kw) in [0, 1], of their own shape: 0.5 where a weight is 0, each filter at full contrast.

    layer: a module with a `weight` of four dimensions, or the weights. With three input channels a filter is a
    colour image, (kh, kw, 3) after `transpose(0, 2, 3, 1)`; else each of its planes is a grey one.
    `TypeError` for what has no weights, `ValueError` for weights of another shape.

    >>> filter_pictures(np.array([[[[-2.0, 0.0, 1.0]]]]))
    array([[[[0.  , 0.5 , 0.75]]]])
    """
    weight: Any = layer
    if not isinstance(layer, np.ndarray):
        weight = getattr(getattr(layer, "weight", None), "data", None)
    if not isinstance(weight, np.ndarray):
        raise TypeError(f"filter_pictures: layer must be a module with weights or their array, got {describe(layer)}")
    if weight.ndim != 4:
        raise ValueError(f"filter_pictures: weight must be (F, C, kh, kw), got shape {short(weight.shape)}")
    most = np.abs(weight).max(axis=(1, 2, 3), keepdims=True, initial=0)
    return weight / (2 * np.where(most > 0, most, 1)) + weight.dtype.type(0.5)
