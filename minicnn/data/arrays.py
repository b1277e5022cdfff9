"""A data set that lies in memory as one array of bytes: MNIST, CIFAR-10 and the digits that ship with the package."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from . import check

Array = np.ndarray


class ArrayDataset:
    """Images and labels in memory.

    images: uint8 (N, C, H, W). targets: integers (N,), 0 to len(classes) − 1. white: the value of full brightness.
    transform: None, or what is called with each image, a uint8 (H, W, C) array of 0 to 255 of its own.

    An item is (image, label): without a transform a float32 (C, H, W) array in [0, 1], with one what it returns;
    the label is an int. As in torchvision `targets` holds all labels (int64) and `classes` their names.

    >>> dataset = ArrayDataset(np.full((2, 1, 3, 3), 51, np.uint8), np.array([0, 1]), ["cat", "dog"])
    >>> image, label = dataset[1]
    >>> image.shape, round(float(image[0, 0, 0]), 6), dataset.classes[label]
    ((1, 3, 3), 0.2, 'dog')
    """

    def __init__(
        self,
        images: Array,
        targets: Array,
        classes: Sequence[str],
        transform: Callable[[Array], Any] | None = None,
        white: int = 255,
    ):
        where = type(self).__name__
        if not isinstance(images, np.ndarray) or images.dtype != np.uint8:
            raise TypeError(f"{where}: images must be an array of uint8, got {check.describe(images)}")
        if images.ndim != 4 or len(images) != len(targets):
            raise ValueError(f"{where}: images must be (N, C, H, W), got {images.shape} for {len(targets)} targets")
        self.images = images
        self.targets = np.ascontiguousarray(targets, dtype=np.int64)
        self.classes = list(classes)
        self.class_to_idx = {name: index for index, name in enumerate(self.classes)}
        self.transform = check.transform(where, transform)
        self.white = white

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        image, label = self.images[index], int(self.targets[index])
        if self.transform is None:
            return self._to_float(image), label
        image = np.array(image.transpose(1, 2, 0), order="C")  # (C, H, W) -> (H, W, C), a copy
        if self.white != 255:
            image = np.rint(image * (255 / self.white)).astype(np.uint8)
        return self.transform(image), label

    def gather_batch(self, indices: Array) -> tuple[Array, Array] | None:
        """A whole batch at once, (float32 (n, C, H, W), int64 (n,)); None where a transform works image by image.

        The loader uses this: a batch of 128 images of MNIST takes a tenth of the time of 128 single items.
        """
        if self.transform is not None:
            return None
        return self._to_float(self.images[indices]), self.targets[indices]

    def _to_float(self, images: Array) -> Array:
        return np.divide(images, np.float32(self.white), dtype=np.float32)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self)} images of {self.images.shape[1:]}, {len(self.classes)} classes)"
