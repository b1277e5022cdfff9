"""How a model sees images: their size, their channels, their normalisation, and what the classes are called."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray


@dataclass(frozen=True)
class View:
    """It is kept in every checkpoint, so that evaluation and prediction treat an image as training did."""

    classes: tuple[str, ...]
    channels: int  # 1 grey, 3 colour
    size: int  # images are square
    mean: tuple[float, ...]  # one a channel, of values in [0, 1]
    std: tuple[float, ...]
    fit: str = "squash"  # an image of another size is squashed to size × size, or "crop": short side, then the centre
    short: int = 0  # with "crop": what the short side is resized to before the centre is cut out; 0: size

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def normalise(self, x: Array) -> Array:
        """A batch (N, C, H, W) in [0, 1] as the model takes it: grey repeated where it wants colour, (x − mean)/std.

        >>> view = View(("a", "b"), 3, 1, (0.5, 0.5, 0.5), (0.5, 0.5, 0.25))
        >>> view.normalise(np.ones((1, 1, 1, 1), np.float32)).ravel()
        array([1., 1., 2.], dtype=float32)
        """
        mean = np.array(self.mean, np.float32).reshape(1, -1, 1, 1)
        scale = 1 / np.array(self.std, np.float32).reshape(1, -1, 1, 1)
        return (x - mean) * scale

    def open(self, path: str | Path) -> Array:
        """An image file as (channels, size, size) float32 in [0, 1]."""
        from ..data import read_image, transforms

        image = read_image(path)
        image = image.convert("L") if self.channels == 1 else image
        if self.fit == "crop":
            steps = [transforms.Resize(self.short or self.size), transforms.CenterCrop(self.size)]
        else:
            steps = [transforms.Resize((self.size, self.size))]
        return transforms.Compose([*steps, transforms.ToArray()])(image)


def view_of(state: dict[str, Any]) -> View:
    """The view that a checkpoint holds."""
    kept = state["view"]
    return View(**{**kept, "classes": tuple(kept["classes"]), "mean": tuple(kept["mean"]), "std": tuple(kept["std"])})
