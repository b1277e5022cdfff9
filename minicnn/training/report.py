"""How well each class is recognised, so that a large class cannot hide a small one."""

from collections.abc import Sequence
from typing import Any

import numpy as np

Array = np.ndarray


def confusion_matrix(predicted: Array, target: Array, classes: int) -> Array:
    """(classes, classes) counts: rows the true class, columns the prediction.

    >>> confusion_matrix(np.array([0, 1, 0]), np.array([0, 1, 1]), 2)
    array([[1, 0],
           [1, 1]])
    """
    return np.bincount(target * classes + predicted, minlength=classes * classes).reshape(classes, classes)


def class_report(matrix: Array, classes: Sequence[str]) -> dict[str, Any]:
    """Accuracy, balanced accuracy (the mean of the classes' accuracies), and for each class: images, right, accuracy.

    A class without images has no accuracy (NaN) and does not count in the mean.

    >>> report = class_report(np.array([[90, 10], [5, 5]]), ["ants", "bees"])
    >>> round(report["accuracy"], 4), report["balanced_accuracy"]
    (0.8636, 0.7)
    >>> report["classes"][1]
    {'class': 'bees', 'images': 10, 'right': 5, 'accuracy': 0.5}
    """
    images, right = matrix.sum(axis=1), matrix.diagonal()
    shares = np.divide(right, images, out=np.full(len(images), np.nan), where=images > 0)
    return {
        "accuracy": float(right.sum() / images.sum()) if images.sum() else float("nan"),
        "balanced_accuracy": float(shares[images > 0].mean()) if images.any() else float("nan"),
        "classes": [
            {"class": name, "images": int(n), "right": int(r), "accuracy": float(share)}
            for name, n, r, share in zip(classes, images, right, shares)
        ],
    }


def worst(logits: Array, target: Array, most: int = 24) -> tuple[Array, Array, Array]:
    """(which images, what they were taken for, how surely) of the mistakes made with most confidence.

    >>> worst(np.array([[0.0, 1.0], [3.0, 0.0], [0.0, 2.0]]), np.array([0, 0, 0]))[0]
    array([2, 0])
    """
    from .. import functional as F

    sure = F.softmax(logits, axis=1)[0]
    predicted = sure.argmax(axis=1)
    wrong = np.flatnonzero(predicted != target)
    order = wrong[np.argsort(-sure[wrong, predicted[wrong]], kind="stable")][:most]
    return order, predicted[order], sure[order, predicted[order]]
