"""Random crops and flips, with torchvision's parameters and distributions.

The random numbers come from `item_generator()`: inside a `DataLoader` a stream of the item's own, elsewhere
`minicnn.random.generator()`. Images as in `geometry`.
"""

import math
from typing import Any

import numpy as np
from PIL import Image

from .. import check
from ..randomness import item_generator
from .geometry import Picture, crop, interpolation_named, pad, picture, resize


class RandomHorizontalFlip:
    """Mirror left and right with probability p.

    >>> RandomHorizontalFlip(p=1.0)(np.array([[1, 2, 3]], np.uint8))[:, :, 0]
    array([[3, 2, 1]], dtype=uint8)
    """

    def __init__(self, p: float = 0.5):
        self.p = check.probability("RandomHorizontalFlip", "p", p)

    def __call__(self, image: Picture) -> Picture:
        image, _, _ = picture("RandomHorizontalFlip", image)
        if item_generator().random() >= self.p:
            return image
        if isinstance(image, Image.Image):
            return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        return image[:, ::-1]

    def __repr__(self) -> str:
        return f"RandomHorizontalFlip(p={self.p})"


class RandomVerticalFlip:
    """Mirror top and bottom with probability p.

    >>> RandomVerticalFlip(p=1.0)(np.array([[1], [2]], np.uint8))[:, :, 0]
    array([[2],
           [1]], dtype=uint8)
    """

    def __init__(self, p: float = 0.5):
        self.p = check.probability("RandomVerticalFlip", "p", p)

    def __call__(self, image: Picture) -> Picture:
        image, _, _ = picture("RandomVerticalFlip", image)
        if item_generator().random() >= self.p:
            return image
        if isinstance(image, Image.Image):
            return image.transpose(Image.Transpose.FLIP_TOP_BOTTOM)
        return image[::-1]

    def __repr__(self) -> str:
        return f"RandomVerticalFlip(p={self.p})"


class RandomCrop:
    """Cut out a rectangle at a random place, after padding.

    size: an int (a square) or (height, width). padding: an int, (left and right, top and bottom) or (left, top, right,
    bottom), added always. pad_if_needed: a side that is still too short is padded by what is missing, before and after
    it. fill: the value of what is added. Without pad_if_needed an image that is too small is a `ValueError`.

    >>> RandomCrop(28, padding=2)(np.zeros((28, 28, 1), np.uint8)).shape
    (28, 28, 1)
    """

    def __init__(
        self,
        size: int | tuple[int, int],
        padding: int | tuple[int, ...] | None = None,
        pad_if_needed: bool = False,
        fill: int = 0,
    ):
        self.size = check.size_pair("RandomCrop", "size", size)
        self.border = None if padding is None else _border(padding)
        self.pad_if_needed = check.flag("RandomCrop", "pad_if_needed", pad_if_needed)
        self.fill = check.integer("RandomCrop", "fill", fill, 0)
        if self.fill > 255:
            raise ValueError(f"RandomCrop: fill must be 0 to 255, got {fill}")

    def __call__(self, image: Picture) -> Picture:
        image, height, width = picture("RandomCrop", image)
        crop_height, crop_width = self.size
        if self.border is not None:
            left, top, right, bottom = self.border
            image = pad("RandomCrop", image, self.border, self.fill)
            height, width = height + top + bottom, width + left + right
        if self.pad_if_needed:
            more_height, more_width = max(0, crop_height - height), max(0, crop_width - width)
            if more_height or more_width:
                image = pad("RandomCrop", image, (more_width, more_height, more_width, more_height), self.fill)
                height, width = height + 2 * more_height, width + 2 * more_width
        if height < crop_height or width < crop_width:
            raise ValueError(
                f"RandomCrop: an image of {width} x {height} is smaller than the crop of {crop_width} x {crop_height}: "
                "pass padding or pad_if_needed=True"
            )
        if (height, width) == self.size:
            return image
        rng = item_generator()
        top = int(rng.integers(0, height - crop_height + 1))
        left = int(rng.integers(0, width - crop_width + 1))
        return crop(image, top, left, crop_height, crop_width)

    def __repr__(self) -> str:
        return f"RandomCrop({self.size}, border={self.border})"


class RandomResizedCrop:
    """Cut out a random part of the image, of random shape, and resize it (C. Szegedy et al., "Going Deeper with
    Convolutions", 2015, section 6).

    size: an int (a square) or (height, width). scale: (low, high) share of the area, uniform. ratio: (low, high) of
    width / height, uniform in its logarithm. Ten tries to fit such a part into the image; then the middle, cut to the
    nearest allowed ratio. interpolation: as in `Resize`.

    >>> RandomResizedCrop(5)(np.zeros((12, 9, 3), np.uint8)).shape
    (5, 5, 3)
    """

    def __init__(
        self,
        size: int | tuple[int, int],
        scale: tuple[float, float] = (0.08, 1.0),
        ratio: tuple[float, float] = (3 / 4, 4 / 3),
        interpolation: str = "bilinear",
    ):
        self.size = check.size_pair("RandomResizedCrop", "size", size)
        self.scale = check.interval("RandomResizedCrop", "scale", scale)
        self.ratio = check.interval("RandomResizedCrop", "ratio", ratio)
        self.interpolation = interpolation_named("RandomResizedCrop", interpolation)

    def __call__(self, image: Picture) -> Picture:
        image, height, width = picture("RandomResizedCrop", image)
        return resize(crop(image, *self.part(height, width)), *self.size, self.interpolation)

    def part(self, height: int, width: int) -> tuple[int, int, int, int]:
        """A random (top, left, height, width) inside an image of this size."""
        rng = item_generator()
        log_low, log_high = math.log(self.ratio[0]), math.log(self.ratio[1])
        for _ in range(10):
            area = height * width * rng.uniform(*self.scale)
            ratio = math.exp(rng.uniform(log_low, log_high))
            part_width, part_height = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if 0 < part_width <= width and 0 < part_height <= height:
                top = int(rng.integers(0, height - part_height + 1))
                left = int(rng.integers(0, width - part_width + 1))
                return top, left, part_height, part_width
        part_height, part_width = height, width
        if width / height < self.ratio[0]:
            part_height = max(1, round(width / self.ratio[0]))
        elif width / height > self.ratio[1]:
            part_width = max(1, round(height * self.ratio[1]))
        return (height - part_height) // 2, (width - part_width) // 2, part_height, part_width

    def __repr__(self) -> str:
        return f"RandomResizedCrop({self.size}, scale={self.scale}, ratio={self.ratio})"


def _border(padding: Any) -> tuple[int, int, int, int]:
    """(left, top, right, bottom) from an int, a pair or four."""
    amounts = padding if isinstance(padding, (tuple, list, np.ndarray)) and np.ndim(padding) else (padding,)
    if len(amounts) not in (1, 2, 4):
        raise ValueError(f"RandomCrop: padding must be an int, a pair or four ints, got {check.short(padding)}")
    amounts = [check.integer("RandomCrop", "padding", amount, 0) for amount in amounts]
    left, top, right, bottom = amounts * (4 // len(amounts))
    return left, top, right, bottom
