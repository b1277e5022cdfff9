"""MNIST and Fashion-MNIST, from the published idx files.

The format (Y. LeCun, "The MNIST database", file formats): big-endian, two zero bytes, the type (8: unsigned byte), the
number of dimensions, each size in four bytes, then the values.
"""

import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from . import check
from .arrays import ArrayDataset
from .reading import Reader, find, folder_of

Array = np.ndarray

DIGITS = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]
CLOTHES = ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"]


class MNIST(ArrayDataset):
    """60,000 (train) or 10,000 handwritten digits of 28 x 28.

    root: the folder with `train-images-idx3-ubyte`, `train-labels-idx1-ubyte` and the two `t10k-…` files, each plain or
    gzipped, or the folder above it: `mnist/` and `MNIST/raw/` in root are looked into first.
    transform: None, or called with a uint8 (28, 28, 1) array. An item is (image, label): without a transform the image
    is a float32 (1, 28, 28) array in [0, 1]. `images` is uint8 (N, 1, 28, 28), `targets` int64 (N,).
    `FileNotFoundError` says what to fetch and where to put it (`minicnn.data.download` does it); a damaged file is a
    `ValueError` that names it.

    >>> MNIST("/nowhere")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    FileNotFoundError: MNIST: no train-images-idx3-ubyte in /nowhere or its mnist/, MNIST/raw/: fetch ...
    """

    subfolders = ("mnist", "MNIST/raw")
    labels_are = DIGITS
    source = "https://ossci-datasets.s3.amazonaws.com/mnist/"

    def __init__(self, root: str | os.PathLike, train: bool = True, transform: Callable[[Array], Any] | None = None):
        where = type(self).__name__
        part = "train" if check.flag(where, "train", train) else "t10k"
        image_file, label_file = self._find(root, part)
        images = read_idx(image_file, dimensions=3)
        labels = read_idx(label_file, dimensions=1)
        if len(images) != len(labels):
            raise ValueError(f"{label_file} has {len(labels)} labels for the {len(images)} images of {image_file}")
        if labels.max() >= len(self.labels_are):
            first = int(np.argmax(labels >= len(self.labels_are)))
            raise ValueError(
                f"{label_file} is damaged: label {first} is {labels[first]}, expected 0 to {len(self.labels_are) - 1}"
            )
        super().__init__(images[:, np.newaxis], labels, self.labels_are, transform)

    def _find(self, root: str | os.PathLike, part: str) -> tuple[Path, Path]:
        """The image file and the label file, both in one folder."""
        missing = f"{part}-images-idx3-ubyte"
        folders = folder_of(type(self).__name__, root, self.subfolders)
        for folder in folders:
            images, labels = (find(folder, idx_names(part, kind)) for kind in ("images-idx3", "labels-idx1"))
            if images and labels:
                return images, labels
            if images:
                missing = f"{part}-labels-idx1-ubyte"
        raise FileNotFoundError(
            f"{type(self).__name__}: no {missing} in {folders[-1]} or its {'/, '.join(self.subfolders)}/: "
            f"fetch {missing}.gz from {self.source} and put it into {folders[0]}"
        )


class FashionMNIST(MNIST):
    """60,000 (train) or 10,000 photographs of clothes of 28 x 28, in the files and the form of `MNIST`.

    `fashion-mnist/` and `FashionMNIST/raw/` in root are looked into first, since MNIST's files have the same names.

    >>> FashionMNIST.labels_are[9]
    'Ankle boot'
    """

    subfolders = ("fashion-mnist", "FashionMNIST/raw")
    labels_are = CLOTHES
    source = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"


def idx_names(part: str, kind: str) -> list[str]:
    """The published name, and the one that some archives give it."""
    return [f"{part}-{kind}-ubyte", f"{part}-{kind.replace('-', '.')}-ubyte"]


def read_idx(path: Path, dimensions: int) -> Array:
    """The uint8 array in an idx file of this many dimensions. `ValueError`, naming the file, for any other content."""
    with Reader(path) as file:
        header = file.read(4 + 4 * dimensions)
        magic = bytes([0, 0, 8, dimensions])
        if header[:4] != magic:
            raise file.wrong(
                f"is not an idx file of {dimensions}-D bytes: it begins with {bytes(header[:4])!r}, not {magic!r}"
            )
        if len(header) < 4 + 4 * dimensions:
            raise file.wrong("has the wrong length: it ends within its header")
        shape = struct.unpack(f">{dimensions}I", header[4:])
        if 0 in shape:
            raise file.wrong(f"is damaged: its header tells of an array of shape {shape}")
        count = int(np.prod(shape, dtype=object))
        body = file.read_all(count, f"{' x '.join(map(str, shape))} values")
    return np.frombuffer(body, dtype=np.uint8).reshape(shape)
