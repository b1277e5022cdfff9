"""Transforms of images, equal to torchvision's (version 1) on Pillow images.

They take Pillow images or uint8 (H, W, C) arrays; `ToArray` makes the float32 (C, H, W) array that `Normalize` and a
network take.
"""

from ..randomness import item_generator
from .augment import RandomCrop, RandomHorizontalFlip, RandomResizedCrop, RandomVerticalFlip
from .geometry import CenterCrop, Resize
from .values import IMAGENET_MEAN, IMAGENET_STD, Compose, Normalize, ToArray, imagenet_eval, imagenet_train

__all__ = [
    "IMAGENET_MEAN", "IMAGENET_STD", "CenterCrop", "Compose", "Normalize", "RandomCrop", "RandomHorizontalFlip",
    "RandomResizedCrop", "RandomVerticalFlip", "Resize", "ToArray", "imagenet_eval", "imagenet_train", "item_generator",
]  # fmt: skip
