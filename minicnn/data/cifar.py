"""CIFAR-10, from its published binary version.

The format (https://www.cs.toronto.edu/~kriz/cifar.html, "Binary version"): records of 3,073 bytes, the label, then
1,024 bytes of red, of green and of blue, row by row.
"""

import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from . import check
from .arrays import ArrayDataset
from .reading import CHUNK, LARGEST, Reader, find, folder_of

Array = np.ndarray

FOLDER = "cifar-10-batches-bin"
ARCHIVE = "cifar-10-binary.tar.gz"
SOURCE = f"https://www.cs.toronto.edu/~kriz/{ARCHIVE}"
CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
RECORD = 1 + 3 * 32 * 32


class CIFAR10(ArrayDataset):
    """50,000 (train) or 10,000 colour photographs of 32 x 32 in ten classes.

    root: the folder with `data_batch_1.bin` to `data_batch_5.bin` and `test_batch.bin`, each plain or gzipped, or with
    the published archive `cifar-10-binary.tar.gz`, which is read as it is; `cifar-10-batches-bin/` in root is looked
    into first. transform: None, or called with a uint8 (32, 32, 3) array. An item is (image, label): without a
    transform the image is a float32 (3, 32, 32) array in [0, 1]. `images` is uint8 (N, 3, 32, 32), `targets` int64 (N,)
    `FileNotFoundError` says what to fetch and where to put it (`minicnn.data.download` does it); a damaged file is a
    `ValueError` that names it.

    >>> CIFAR10("/nowhere")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    FileNotFoundError: CIFAR10: no data_batch_1.bin in /nowhere or its cifar-10-batches-bin/: fetch ...
    """

    def __init__(self, root: str | os.PathLike, train: bool = True, transform: Callable[[Array], Any] | None = None):
        train = check.flag("CIFAR10", "train", train)
        names = [f"data_batch_{number}.bin" for number in range(1, 6)] if train else ["test_batch.bin"]
        batches = _read_batches(root, names)
        super().__init__(
            np.concatenate([images for images, _ in batches]),
            np.concatenate([labels for _, labels in batches]),
            CLASSES,
            transform,
        )


def _read_batches(root: str | os.PathLike, names: list[str]) -> list[tuple[Array, Array]]:
    """(images, labels) of each file, from the first folder that has any of them, else from the archive."""
    folders = folder_of("CIFAR10", root, [FOLDER])
    missing = names
    for folder in folders:
        found = [find(folder, [name]) for name in names]
        paths = [path for path in found if path is not None]
        if len(paths) == len(names):
            return [_read_file(path) for path in paths]
        if paths:
            missing = [name for name, path in zip(names, found) if path is None]
    for folder in folders:
        if (folder / ARCHIVE).is_file():
            return _read_archive(folder / ARCHIVE, names)
    raise FileNotFoundError(
        f"CIFAR10: no {missing[0]} in {folders[-1]} or its {FOLDER}/: "
        f"fetch {SOURCE} and put it, as it is, into {folders[-1]}"
    )


def _read_file(path: Path) -> tuple[Array, Array]:
    with Reader(path) as file:
        body = file.read(file.limit + 1)
    return parse_records(body, str(path))


def _read_archive(path: Path, names: list[str]) -> list[tuple[Array, Array]]:
    """The files of these names in the archive, read as a stream: nothing is unpacked to the disk."""
    parts = {}
    with Reader(path) as reader:
        stream: Any = reader  # all that tarfile needs of a file is its read
        try:
            with tarfile.open(fileobj=stream, mode="r|") as archive:
                for member in archive:
                    name = member.name.rsplit("/", 1)[-1]
                    file = archive.extractfile(member) if name in names and member.size < LARGEST else None
                    if file is not None:
                        parts[name] = parse_records(file.read(), f"{path}: {name}")
        except tarfile.TarError as error:
            raise reader.wrong(f"is damaged: {' '.join(str(error).split())}") from None
        while reader.read(CHUNK):  # to the end, where gzip checks its sum
            pass
    missing = [name for name in names if name not in parts]
    if missing:
        raise ValueError(f"{path} is damaged or another archive: it has no {missing[0]}")
    return [parts[name] for name in names]


def parse_records(body: bytes | bytearray, name: str) -> tuple[Array, Array]:
    """(images uint8 (n, 3, 32, 32), labels uint8 (n,)); `name` says in an error where the bytes came from."""
    if not body or len(body) % RECORD:
        raise ValueError(f"{name} has the wrong length: {len(body)} bytes are not whole records of {RECORD}")
    records = np.frombuffer(body, dtype=np.uint8).reshape(-1, RECORD)
    labels = records[:, 0]
    if labels.max() >= len(CLASSES):
        first = int(np.argmax(labels >= len(CLASSES)))
        raise ValueError(f"{name} is damaged: label {first} is {labels[first]}, expected 0 to 9")
    return records[:, 1:].reshape(-1, 3, 32, 32), labels
