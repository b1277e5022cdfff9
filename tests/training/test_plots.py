"""The pictures: that they are drawn, of a sensible size, for every kind of data. How they look is judged by eye."""

import io

import numpy as np
import pytest
from PIL import Image

from minicnn.training import History, plots


def size(png):
    with Image.open(io.BytesIO(png)) as image:
        image.verify()
        return image.size


def record(**changes):
    return {"loss": 1.0, "accuracy": 0.5, "val_loss": 1.1, "val_accuracy": 0.4, "lr": 0.1, "seconds": 1.0} | changes


@pytest.mark.parametrize("epochs", [1, 2, 50])
def test_curves(epochs):
    width, height = size(plots.curves(History(record() for _ in range(epochs)), "a title"))
    assert width > height > 300


@pytest.mark.parametrize(
    ("count", "channels", "names"), [(0, 1, "0"), (1, 1, "0"), (9, 3, "a long name"), (24, 3, "ant")]
)
def test_misclassified(rng, count, channels, names):
    images = rng.random((count, channels, 8, 8)).astype(np.float32)
    width, height = size(plots.misclassified(images, [0] * count, [1] * count, [0.5] * count, [names, "b"], 100))
    assert 300 < width < 3000
    assert 100 < height < 3000


@pytest.mark.parametrize("classes", [2, 10, 200])
def test_confusion(rng, classes):
    width, height = size(
        plots.confusion(rng.integers(0, 9, (classes, classes)), [f"class {i}" for i in range(classes)])
    )
    assert 300 < width < 3000
    assert 300 < height < 3000


def test_a_class_without_images_is_no_division_by_zero():
    size(plots.confusion(np.zeros((2, 2), int), ["a", "b"]))
