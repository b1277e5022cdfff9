"""gradcam: which parts of an image speak for a class (Selvaraju et al. 2017, "Grad-CAM").

α_k = 1/Z · Σ_ij ∂y_c / ∂A_k[i, j]          how much channel k of the layer's output A speaks for class c
map = max(0, Σ_k α_k · A_k)                  equations 1 and 2, then enlarged bilinearly to the size of the image
"""

import copy
from typing import Any

import numpy as np

from .. import functional
from ..functional import check
from ..functional.door import describe, short
from ..nn import Module

Array = np.ndarray


def gradcam(model: Module, x: Array, layer: Module | str, target: int | None = None) -> Array:
    """A map (H, W) of the size of the image: large where what the layer sees speaks for the class.

    x: one image, (C, H, W) or (1, C, H, W). layer: a module of the model with an output (1, C', h, w), or its name.
    target: the class, by default the one that the model finds. The values are ≥ 0 and not scaled: divide by their
    maximum to show them. Runs a copy of the model in eval mode; the model stays as it is.
    `TypeError` and `ValueError` for other arguments, `IndexError` for a class that there is not.

    >>> from minicnn import nn
    >>> model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 3))
    >>> gradcam(model, np.ones((1, 8, 6), np.float32), "1").shape
    (8, 6)
    """
    if not isinstance(model, Module):
        raise TypeError(f"gradcam: model must be a Module, got {describe(model)}")
    if not isinstance(x, np.ndarray):
        raise TypeError(f"gradcam: x must be an array, got {describe(x)}")
    if x.ndim not in (3, 4) or (x.ndim == 4 and len(x) != 1):
        raise ValueError(f"gradcam: x must be one image, (C, H, W) or (1, C, H, W), got shape {short(x.shape)}")
    twin = copy.deepcopy(model).eval()
    image = x if x.ndim == 4 else x[None]
    seen: dict[str, Any] = {}
    module = dict(twin.named_modules())[_name_of(model, layer)]
    module.register_forward_hook(lambda _, inputs, y: seen.update(y=y))
    module.register_backward_hook(lambda _, dy, dx: seen.update(dy=dy))
    logits = twin(image)
    if logits.ndim != 2:
        raise ValueError(f"gradcam: model must return (1, classes), got shape {short(logits.shape)}")
    twin.backward(_one_hot(logits, target))
    if "dy" not in seen or np.ndim(seen["y"]) != 4:
        kind = type(module).__name__
        raise ValueError(f"gradcam: layer must be one that the model runs, with an output (1, C, h, w), got a {kind}")
    alpha = seen["dy"].mean(axis=(2, 3), keepdims=True)  # (1, C', 1, 1)
    heat = np.maximum((alpha * seen["y"]).sum(axis=1, keepdims=True), 0)  # (1, 1, h, w)
    return functional.interpolate(heat, size=image.shape[2:], mode="bilinear")[0][0, 0]


def _name_of(model: Module, layer: Module | str) -> str:
    names = dict(model.named_modules())
    if isinstance(layer, str):
        if layer not in names:
            raise ValueError(f"gradcam: layer must name a module of the model, got {short(layer)}")
        return layer
    if not isinstance(layer, Module):
        raise TypeError(f"gradcam: layer must be a Module or its name, got {describe(layer)}")
    for name, module in names.items():
        if module is layer:
            return name
    raise ValueError(f"gradcam: layer must be a module of the model, got a {type(layer).__name__} that is not in it")


def _one_hot(logits: Array, target: int | None) -> Array:
    """The gradient of the score of one class by all of them."""
    classes = logits.shape[1]
    chosen = int(np.argmax(logits)) if target is None else check.integer("gradcam", "target", target)
    if not 0 <= chosen < classes:
        raise IndexError(f"gradcam: target must be a class, 0 to {classes - 1}, got {short(chosen)}")
    dy = np.zeros_like(logits)
    dy[0, chosen] = 1
    return dy
