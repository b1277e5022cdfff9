"""The pictures of a training run, as PNG. They need matplotlib: pip install 'minicnn[plots]'.

matplotlib is imported in the functions, so that everything else does without it; the figures are drawn without a
display and without pyplot, whose global state belongs to the user.
"""

import io
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np

from .history import History

Array = np.ndarray

TRAIN, TEST = "#9aa5b1", "#0b6e99"  # training is the grey background, the held-back images are what counts
INK, GRID = "#1f2933", "#e4e7eb"


def available() -> bool:
    """Whether matplotlib is installed."""
    return find_spec("matplotlib") is not None


def curves(history: History, title: str) -> bytes:
    """Loss and accuracy over the epochs, of the training and of the held-back images, as a PNG."""
    figure = _figure(9, 3.6)
    epochs = np.arange(1, len(history) + 1)
    for place, name, label in ((1, "loss", "loss"), (2, "accuracy", "accuracy in %")):
        axes = figure.add_subplot(1, 2, place)
        scale = 100 if name == "accuracy" else 1
        for key, colour, text in ((name, TRAIN, "train"), (f"val_{name}", TEST, "test")):
            values = scale * np.array([record[key] for record in history])
            axes.plot(epochs, values, "o-", color=colour, label=text, linewidth=2, markersize=4)
        axes.set_xlabel("epoch", color=INK)
        axes.set_title(label, color=INK, fontsize=11, loc="left")
        axes.set_ylim(**({"bottom": 0} if name == "loss" else {"top": 100.5}))
        axes.xaxis.get_major_locator().set_params(integer=True)
        _plain(axes)
        axes.legend(frameon=False)
    best = history.best()
    figure.suptitle(
        f"{title}: {history[best]['val_accuracy']:.2%} of the test images right after epoch {best + 1}",
        color=INK, x=0.02, ha="left",
    )  # fmt: skip
    return _png(figure)


def misclassified(
    images: Array, labels: Sequence[int], predicted: Sequence[int], sure: Sequence[float], classes: Sequence[str],
    total: int,
) -> bytes:  # fmt: skip
    """A grid of images (K, C, H, W) in [0, 1] that were taken for another class, as a PNG.

    Above each its class and what it was taken for, with the probability in percent. total: of how many images.
    """
    count = len(images)
    columns = min(8, max(1, count))
    rows = max(1, -(-count // columns))
    long_names = max((len(name) for name in classes), default=1) > 3
    figure = _figure(1.35 * columns if columns > 3 else 5, 0.7 + 1.5 * rows)
    for i in range(count):
        axes = figure.add_subplot(rows, columns, i + 1)
        axes.imshow(_picture(images[i]), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        names = classes[labels[i]], classes[predicted[i]]
        text = f"{names[0]}\nas {names[1]} {sure[i]:.0%}" if long_names else f"{names[0]} as {names[1]}, {sure[i]:.0%}"
        axes.set_title(text, fontsize=8, color=INK)
        axes.axis("off")
    figure.suptitle(_mistakes(count, total), color=INK, x=0.02, ha="left", fontsize=11)
    return _png(figure)


def confusion(matrix: Array, classes: Sequence[str]) -> bytes:
    """The confusion matrix (rows: the true class, columns: the prediction; counts) as a PNG."""
    count = len(classes)
    size = float(np.clip(0.45 * count + 2, 4, 16))
    figure = _figure(size, size)
    axes = figure.add_subplot(1, 1, 1)
    share = matrix / np.maximum(1, matrix.sum(axis=1, keepdims=True))
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    if count <= 30:
        for row, column in np.argwhere(matrix > 0):
            colour = "white" if share[row, column] > 0.5 else INK
            axes.text(column, row, str(matrix[row, column]), ha="center", va="center", fontsize=8, color=colour)
        turned = max(len(name) for name in classes) > 3
        axes.set_xticks(range(count), classes, rotation=45 if turned else 0, ha="right" if turned else "center")
        axes.set_yticks(range(count), classes)
    axes.set_xlabel("predicted", color=INK)
    axes.set_ylabel("true class", color=INK)
    right = int(np.trace(matrix))
    axes.set_title(f"{right} of {int(matrix.sum())} right", color=INK, fontsize=11, loc="left")
    axes.tick_params(length=0, colors=INK, labelsize=8)
    for side in axes.spines.values():
        side.set_visible(False)
    return _png(figure)


def _mistakes(shown: int, total: int) -> str:
    if shown == 0:
        return f"none of {total} test images is misclassified"
    return f"the {shown} most confident mistakes among {total} test images (true class as predicted)"


def _picture(image: Array) -> Array:
    """(C, H, W) as matplotlib takes it: (H, W) grey or (H, W, 3)."""
    return np.clip(image[0] if len(image) == 1 else np.moveaxis(image, 0, -1), 0, 1)


def _figure(width: float, height: float) -> Any:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=120, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def _plain(axes: Any) -> None:
    """No frame but the axes, a light grid behind the lines."""
    axes.grid(color=GRID)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(GRID)
    axes.tick_params(colors=INK, labelsize=9, length=0)


def _png(figure: Any) -> bytes:
    content = io.BytesIO()
    figure.savefig(content, format="png")
    return content.getvalue()
