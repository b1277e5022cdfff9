"""Resizing and cropping, equal to torchvision's on Pillow images to the bit.

Each takes a Pillow image, or a uint8 (H, W, C) or (H, W) array, and returns the same kind; an array comes back as
(H, W, C). What would take more than 200 million pixels, before or after, is a `ValueError`.
"""

from typing import Any

import numpy as np
from PIL import Image, ImageOps

from .. import check

Array = np.ndarray
Picture = Image.Image | Array

INTERPOLATIONS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
    "box": Image.Resampling.BOX,
    "hamming": Image.Resampling.HAMMING,
}


class Resize:
    """Resize an image; on the way down Pillow averages over all pixels (antialiasing), as torchvision does.

    size: an int is the length of the short side, the long one becomes int(size · long / short), rounded down;
    a pair is (height, width). interpolation: nearest, bilinear (the default), bicubic, lanczos, box, hamming.

    >>> Resize(4)(np.zeros((8, 10, 1), np.uint8)).shape
    (4, 5, 1)
    """

    def __init__(self, size: int | tuple[int, int], interpolation: str = "bilinear"):
        self.size = check.size_pair("Resize", "size", size)
        self.keeps_ratio = np.size(size) == 1
        self.interpolation = interpolation_named("Resize", interpolation)

    def __call__(self, image: Picture) -> Picture:
        image, height, width = picture("Resize", image)
        new_height, new_width = self.size
        if self.keeps_ratio:
            short, long = min(height, width), max(height, width)
            length = int(self.size[0] * long / short)
            new_height, new_width = (self.size[0], length) if height < width else (length, self.size[0])
            check.pixels("Resize", new_height, new_width)
        return resize(image, new_height, new_width, self.interpolation)

    def __repr__(self) -> str:
        return f"Resize({self.size[0] if self.keeps_ratio else self.size})"


class CenterCrop:
    """Cut out the middle; an image that is smaller is padded with 0 first.

    size: an int (a square) or (height, width). The corner is at round((H − height) / 2), half to even as in Python.

    >>> CenterCrop(2)(np.arange(16, dtype=np.uint8).reshape(4, 4))[:, :, 0]
    array([[ 5,  6],
           [ 9, 10]], dtype=uint8)
    """

    def __init__(self, size: int | tuple[int, int]):
        self.size = check.size_pair("CenterCrop", "size", size)

    def __call__(self, image: Picture) -> Picture:
        image, height, width = picture("CenterCrop", image)
        crop_height, crop_width = self.size
        more_height, more_width = max(0, crop_height - height), max(0, crop_width - width)
        if more_height or more_width:
            image = pad(
                "CenterCrop",
                image,
                (more_width // 2, more_height // 2, (more_width + 1) // 2, (more_height + 1) // 2),
            )
            height, width = height + more_height, width + more_width
        return crop(image, round((height - crop_height) / 2), round((width - crop_width) / 2), crop_height, crop_width)

    def __repr__(self) -> str:
        return f"CenterCrop({self.size})"


def picture(where: str, image: Any) -> tuple[Picture, int, int]:
    """(the image, arrays as (H, W, C); height; width). `TypeError` for anything else."""
    if isinstance(image, Image.Image):
        width, height = image.size
    elif isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.ndim in (2, 3):
        image = image[:, :, np.newaxis] if image.ndim == 2 else image
        height, width = image.shape[:2]
    else:
        raise TypeError(f"{where}: takes a Pillow image or a uint8 (H, W, C) array, got {check.describe(image)}")
    if height < 1 or width < 1:
        raise ValueError(f"{where}: the image is empty, {width} x {height}")
    check.pixels(where, height, width)
    return image, height, width


def interpolation_named(where: str, name: Any) -> Image.Resampling:
    """Pillow's constant, from its name (torchvision's names are the same) or as it is."""
    if isinstance(name, Image.Resampling):
        return name
    if not isinstance(name, str):
        raise TypeError(f"{where}: interpolation must be a string, got {check.describe(name)}")
    if name not in INTERPOLATIONS:
        raise ValueError(f"{where}: interpolation must be one of {', '.join(INTERPOLATIONS)}; got {check.short(name)}")
    return INTERPOLATIONS[name]


def resize(image: Picture, height: int, width: int, interpolation: Image.Resampling) -> Picture:
    """Pillow's resize; an array goes through Pillow channel by channel, or at once where it is RGB."""
    if isinstance(image, Image.Image):
        return image.resize((width, height), interpolation)
    if image.shape[2] == 3:
        return np.array(Image.fromarray(np.ascontiguousarray(image)).resize((width, height), interpolation))
    resized = np.empty((height, width, image.shape[2]), dtype=np.uint8)
    for channel in range(image.shape[2]):
        plane = Image.fromarray(np.ascontiguousarray(image[:, :, channel]))
        resized[:, :, channel] = np.asarray(plane.resize((width, height), interpolation))
    return resized


def crop(image: Picture, top: int, left: int, height: int, width: int) -> Picture:
    """The rectangle, which must lie inside the image."""
    if isinstance(image, Image.Image):
        return image.crop((left, top, left + width, top + height))
    return image[top : top + height, left : left + width]


def pad(where: str, image: Picture, border: tuple[int, int, int, int], fill: int = 0) -> Picture:
    """Add (left, top, right, bottom) pixels of the value `fill`."""
    left, top, right, bottom = border
    _, height, width = picture(where, image)
    check.pixels(where, height + top + bottom, width + left + right)
    if isinstance(image, Image.Image):
        bands = len(image.getbands())
        return ImageOps.expand(image, border=border, fill=fill if bands == 1 else (fill,) * bands)
    # np.pad takes ten times as long as this for a small image
    padded = np.full((height + top + bottom, width + left + right, image.shape[2]), fill, dtype=np.uint8)
    padded[top : top + height, left : left + width] = image
    return padded
