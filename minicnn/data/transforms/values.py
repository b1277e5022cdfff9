"""From pixels to the numbers that a network takes: ToArray, Normalize, Compose, and the recipes for ImageNet."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import check
from ..images import to_array, to_float
from .augment import RandomHorizontalFlip, RandomResizedCrop
from .geometry import CenterCrop, Picture, Resize, picture

Array = np.ndarray

# Mean and standard deviation of ImageNet's training images, RGB in [0, 1], as torchvision's models were trained with.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class Compose:
    """One transform after the other.

    >>> Compose([Resize(4), ToArray()])(np.zeros((8, 8, 3), np.uint8)).shape
    (3, 4, 4)
    """

    def __init__(self, transforms: Sequence[Callable[[Any], Any]]):
        self.transforms = list(transforms)
        for position, transform in enumerate(self.transforms):
            if not callable(transform):
                raise TypeError(f"Compose: transform {position} must be callable, got {check.describe(transform)}")

    def __call__(self, image: Any) -> Any:
        for transform in self.transforms:
            image = transform(image)
        return image

    def __repr__(self) -> str:
        return f"Compose({self.transforms})"


class ToArray:
    """A Pillow image, or a uint8 (H, W, C) or (H, W) array, as a float32 (C, H, W) array in [0, 1].

    The values are those of torchvision's ToTensor: each byte over 255.

    Pillow images of more than 8 bits a channel and palette images are a `ValueError`: convert them first.

    >>> ToArray()(np.array([[0, 51, 255]], np.uint8))
    array([[[0. , 0.2, 1. ]]], dtype=float32)
    """

    def __call__(self, image: Picture) -> Array:
        image, _, _ = picture("ToArray", image)
        return to_float(image if isinstance(image, np.ndarray) else to_array(image))

    def __repr__(self) -> str:
        return "ToArray()"


class Normalize:
    """y = (x − mean) / std, channel by channel, for a floating (…, C, H, W) array. Returns a new array of its dtype.

    mean, std: a number or a sequence, one a channel (or one for all); std must not hold 0.

    >>> Normalize([0.5], [0.5])(np.array([[[0.0, 1.0]]], np.float32))
    array([[[-1.,  1.]]], dtype=float32)
    """

    def __init__(self, mean: float | Sequence[float], std: float | Sequence[float]):
        self.mean = _per_channel("mean", mean)
        self.std = _per_channel("std", std)
        if (self.std.astype(np.float32) == 0).any():
            raise ValueError(f"Normalize: std must not hold 0, got {check.short(std)}")
        if 1 != len(self.mean) != len(self.std) != 1:
            raise ValueError(f"Normalize: mean has {len(self.mean)} channels, std {len(self.std)}")

    def __call__(self, image: Array) -> Array:
        if not isinstance(image, np.ndarray) or image.dtype not in (np.float32, np.float64):
            raise TypeError(
                f"Normalize: takes a float (C, H, W) array, got {check.describe(image)}: put ToArray() before it"
            )
        channels = max(len(self.mean), len(self.std))
        if image.ndim < 3 or (channels > 1 and image.shape[-3] != channels):
            raise ValueError(f"Normalize: takes (C, H, W) of {channels} channels, got shape {image.shape}")
        y = image - self.mean.astype(image.dtype)[:, np.newaxis, np.newaxis]
        y /= self.std.astype(image.dtype)[:, np.newaxis, np.newaxis]
        return y

    def __repr__(self) -> str:
        return f"Normalize({self.mean.tolist()}, {self.std.tolist()})"


def imagenet_eval(size: int = 224, resize: int = 256) -> Compose:
    """What torchvision's ImageNet models are evaluated with: short side to 256, the middle 224 x 224, normalised.

    >>> imagenet_eval()(np.zeros((300, 400, 3), np.uint8)).shape
    (3, 224, 224)
    """
    return Compose([Resize(resize), CenterCrop(size), ToArray(), Normalize(IMAGENET_MEAN, IMAGENET_STD)])


def imagenet_train(size: int = 224) -> Compose:
    """What they are trained with: a random part resized to 224 x 224, mirrored half of the time, normalised.

    >>> imagenet_train()(np.zeros((300, 400, 3), np.uint8)).shape
    (3, 224, 224)
    """
    return Compose([RandomResizedCrop(size), RandomHorizontalFlip(), ToArray(), Normalize(IMAGENET_MEAN, IMAGENET_STD)])


def _per_channel(name: str, value: Any) -> Array:
    """float64 (C,), all finite."""
    values = value if np.ndim(value) else [value]
    if len(values) == 0:
        raise ValueError(f"Normalize: {name} must hold one number a channel, got {check.short(value)}")
    return np.array([check.real("Normalize", name, number) for number in values])
