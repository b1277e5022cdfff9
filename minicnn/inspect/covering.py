"""occlusion: what a class loses when a part of the image is covered (Zeiler & Fergus 2014, section 4.2)."""

import numpy as np

from .. import functional
from ..backends.settings import no_grad
from ..functional import check
from ..nn import Module
from .scores import class_of, one_image

Array = np.ndarray

BATCH = 16  # covered images that run at once


def occlusion(
    model: Module,
    x: Array,
    target: int | None = None,
    size: int | None = None,
    stride: int | None = None,
    value: float = 0.0,
) -> Array:
    """A map (H, W) of the size of the image: by how much the probability of the class falls where it is covered.

    A square of `size` pixels (by default a seventh of the short side) filled with `value` goes over the image in steps
    of `stride` (by default half of it), to the very edge; a pixel gets the mean fall over the squares that cover it.
    x: one image as the model takes it, so that with the usual normalisation a value of 0 is the mean colour.
    target: the class, by default the one that the model finds. Runs a copy of the model in eval mode.
    `TypeError`, `ValueError` and `IndexError` for other arguments.

    >>> from minicnn import nn
    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2, bias=False))
    >>> model[1].weight.data[...] = [[0, 5, 0, 0], [0, 0, 0, 0]]
    >>> occlusion(model, np.ones((1, 2, 2), np.float32), target=0, size=1).round(2)
    array([[0.  , 0.49],
           [0.  , 0.  ]], dtype=float32)
    """
    twin, image = one_image("occlusion", model, x)
    height, width = image.shape[2:]
    size = max(1, min(height, width) // 7) if size is None else check.integer("occlusion", "size", size, 1)
    if size > min(height, width):
        raise ValueError(
            f"occlusion: size must be at most the short side of the image, {min(height, width)}, got {size}"
        )
    stride = max(1, size // 2) if stride is None else check.integer("occlusion", "stride", stride, 1)
    value = check.real("occlusion", "value", value)
    places = [(top, left) for top in _starts(height, size, stride) for left in _starts(width, size, stride)]
    falls, covers = np.zeros((height, width)), np.zeros((height, width))
    with no_grad():
        logits = twin(image)
        chosen = class_of("occlusion", logits, target)
        before = functional.softmax(logits)[0][0, chosen]
        for start in range(0, len(places), BATCH):
            part = places[start : start + BATCH]
            covered = np.repeat(image, len(part), axis=0)
            for one, (top, left) in zip(covered, part):
                one[:, top : top + size, left : left + size] = value
            after = functional.softmax(twin(covered))[0][:, chosen]
            for fall, (top, left) in zip(before - after, part):
                falls[top : top + size, left : left + size] += fall
                covers[top : top + size, left : left + size] += 1
    return np.divide(falls, covers, out=np.zeros_like(falls), where=covers > 0).astype(image.dtype)


def _starts(side: int, size: int, stride: int) -> list[int]:
    """Where squares begin: every `stride` pixels, and one that ends at the edge."""
    return sorted({*range(0, side - size + 1, stride), side - size})
