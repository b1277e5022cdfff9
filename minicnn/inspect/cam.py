"""gradcam: which parts of an image speak for a class (Selvaraju et al. 2017, "Grad-CAM").

α_k = 1/Z · Σ_ij ∂y_c / ∂A_k[i, j]          how much channel k of the layer's output A speaks for class c
map = max(0, Σ_k α_k · A_k)                  equations 1 and 2, then enlarged bilinearly to the size of the image
"""

from typing import Any

import numpy as np

from .. import functional
from ..functional.door import describe, short
from ..nn import Module
from .scores import class_of, one_hot, one_image

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
    twin, image = one_image("gradcam", model, x)
    seen: dict[str, Any] = {}
    module = dict(twin.named_modules())[_name_of(model, layer)]
    module.register_forward_hook(lambda _, inputs, y: seen.update(y=y))
    module.register_backward_hook(lambda _, dy, dx: seen.update(dy=dy))
    logits = twin(image)
    twin.backward(one_hot(logits, class_of("gradcam", logits, target)))
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
