"""What a model says about images, with the images at hand."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from .view import View

Array = np.ndarray


def probabilities(model: Any, x: Array) -> Array:
    """softmax of the model's logits for a normalised batch; nothing is kept."""
    from .. import functional as F
    from .. import no_grad

    with no_grad():
        return F.softmax(model(x), axis=1)[0]


def mistakes(
    model: Any, images: Iterable[tuple[Array, Array]], view: View, most: int = 24
) -> tuple[Array, list[int], list[int], list[float]]:
    """(images, true classes, predicted classes, probabilities) of the mistakes made with most confidence."""
    model.eval()
    found: list[tuple[float, int, int, Array]] = []
    for x, target in images:
        predicted = probabilities(model, view.normalise(x))
        for i in np.flatnonzero(predicted.argmax(axis=1) != target):
            taken = int(predicted[i].argmax())
            found.append((float(predicted[i, taken]), int(target[i]), taken, x[i]))
        found = sorted(found, key=lambda mistake: -mistake[0])[:most]
    kept = np.stack([mistake[3] for mistake in found]) if found else np.empty((0, 1, 1, 1), np.float32)
    return kept, [m[1] for m in found], [m[2] for m in found], [m[0] for m in found]
