"""Photographs in folders, one folder a class."""

import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from . import check
from .images import SUFFIXES, read_image, to_array, to_float


class ImageFolder:
    """root/CLASS/…/photo.jpg, in the classes and the order of torchvision's `ImageFolder`.

    classes: the sorted names of the folders in root. class_to_idx: name → index. samples: a list of (path, class
    index), targets: their class indices, int64. ignored: the files without the suffix of an image (JPEG, PNG, BMP,
    WebP, GIF, TIFF), and those that lie in root outside of a class; a warning counts and names them.

    An item is (image, label): the image as RGB (see `read_image`), without a transform a float32 (3, H, W) array in
    [0, 1]; a transform is called with the Pillow image. A damaged image is a `ValueError` that names the file when it
    is read; `broken()` reads all and lists those. `FileNotFoundError` for a root without classes and for classes
    without images, naming them.

    >>> ImageFolder("/nowhere")
    Traceback (most recent call last):
    FileNotFoundError: ImageFolder: there is no folder /nowhere
    """

    def __init__(self, root: str | os.PathLike, transform: Callable[[Any], Any] | None = None):
        if not isinstance(root, (str, os.PathLike)):
            raise TypeError(f"ImageFolder: root must be a path, got {check.describe(root)}")
        self.root = str(Path(root).expanduser())
        self.transform = check.transform("ImageFolder", transform)
        self.classes, self.ignored = _classes(self.root)
        self.class_to_idx = {name: index for index, name in enumerate(self.classes)}
        self.samples: list[tuple[str, int]] = []
        empty = []
        for name, label in self.class_to_idx.items():
            images, others = _files(os.path.join(self.root, name))
            self.samples += [(path, label) for path in images]
            self.ignored += others
            if not images:
                empty.append(name)
        if empty:
            raise FileNotFoundError(
                f"ImageFolder: no image ({' '.join(SUFFIXES)}) in {_few(empty)}, of the {len(self.classes)} class "
                f"folders in {self.root}"
            )
        self.targets = np.array([label for _, label in self.samples], dtype=np.int64)
        if self.ignored:
            names = [os.path.relpath(path, self.root) for path in self.ignored]
            warnings.warn(
                f"ImageFolder: {len(names)} files in {self.root} are left out, not images of a class: {_few(names)}",
                stacklevel=2,
            )

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        path, label = self.samples[index]
        image = read_image(path)
        return (to_float(to_array(image)) if self.transform is None else self.transform(image)), label

    def broken(self) -> list[tuple[str, str]]:
        """Read every image; (path, what is wrong) of those that cannot be read."""
        found = []
        for path, _ in self.samples:
            try:
                read_image(path)
            except (ValueError, OSError) as error:
                found.append((path, str(error)))
        return found

    def __repr__(self) -> str:
        return f"ImageFolder({len(self)} images in {len(self.classes)} classes in {self.root})"


def _classes(root: str) -> tuple[list[str], list[str]]:
    """The sorted names of the folders in root, and the paths of what else lies there."""
    if not os.path.exists(root):
        raise FileNotFoundError(f"ImageFolder: there is no folder {root}")
    if not os.path.isdir(root):
        raise NotADirectoryError(f"ImageFolder: root must be a folder of class folders, {root} is a file")
    with os.scandir(root) as entries:
        folders: list[str] = []
        others: list[str] = []
        for entry in entries:
            (folders if entry.is_dir() else others).append(entry.name)
    if not folders:
        raise FileNotFoundError(f"ImageFolder: no class folder in {root}: it must hold one folder a class")
    return sorted(folders), [os.path.join(root, name) for name in sorted(others)]


def _files(folder: str) -> tuple[list[str], list[str]]:
    """(paths of images, paths of other files) below a folder, sorted as torchvision does: by folder, then by name."""
    images: list[str] = []
    others: list[str] = []
    seen = set()

    def unreadable(error: OSError) -> None:
        raise error  # os.walk would pass over it in silence

    listing = []
    for place, below, names in os.walk(folder, onerror=unreadable, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:  # a link that leads back up
            below.clear()
            continue
        seen.add(real)
        listing.append((place, names))
    for place, names in sorted(listing):
        for name in sorted(names):
            (images if name.lower().endswith(SUFFIXES) else others).append(os.path.join(place, name))
    return images, others


def _few(names: list[str]) -> str:
    """The first three names, and that there are more."""
    shown = ", ".join(name[:60] for name in names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"
