"""Lists of photographs: one folder a class, or all in one folder, with labels where the names tell them."""

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from .pretrained import Pretrained
from .view import View

Array = np.ndarray
UNKNOWN = -1  # the label of an image whose class nobody has told


class Photos:
    """A data set of image files, seen as a model is to see them: (image normalised, label)."""

    def __init__(self, paths: list[str], labels: list[int], view: View):
        self.paths, self.labels, self.view = paths, labels, view

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[Array, int]:
        return self.view.normalise(self.view.open(self.paths[index])[np.newaxis])[0], self.labels[index]

    def batches(self, size: int) -> Any:
        """Batches of these, decoded ahead by threads."""
        from ..data import DataLoader

        return DataLoader(self, size, workers=min(4, os.cpu_count() or 1))


def list_photos(folder: str, parts: bool = True) -> tuple[list[str], list[str], list[str]]:
    """(paths, the name of the class of each, classes): of class folders, or of a flat folder without classes ("", []).

    parts: where DIR has train/ and val/ (or test/), the latter is taken. `OSError` for no folder or no image.
    """
    from ..data import ImageFolder
    from ..data.images import SUFFIXES
    from .sources import folder_parts

    root = Path(folder).expanduser()
    if not root.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder")
    if parts:
        train, test = folder_parts(root)
        root = test or train
    if any(entry.is_dir() for entry in root.iterdir()):
        found = ImageFolder(root)
        return [path for path, _ in found.samples], [found.classes[i] for _, i in found.samples], found.classes
    paths = sorted(str(path) for path in root.iterdir() if path.suffix.lower() in SUFFIXES)
    if not paths:
        raise FileNotFoundError(f"{root}: a folder without class folders and without images ({' '.join(SUFFIXES)})")
    return paths, [""] * len(paths), []


def labelled_photos(folder: str, subject: Pretrained) -> Photos:
    """Photographs with the class indices of a model.

    Class folders are called by the model's classes or, for ImageNet's, by wnid; the files of a flat folder begin with
    the wnid. `ValueError` naming the first of those that are neither.
    """
    paths, names, classes = list_photos(folder)
    if not classes:
        if not subject.wnids:
            raise ValueError(f"{folder}: no class folders, which a model of classes other than ImageNet's needs")
        names = [Path(path).name.split("_")[0].split(".")[0] for path in paths]
    index = _index_of(subject)
    unknown = sorted({name for name in names if name not in index})
    if unknown:
        what = "class folders" if classes else "beginnings of file names"
        wanted = "a wnid of ImageNet" if subject.wnids else f"a class of the model, such as {subject.view.classes[0]}"
        raise ValueError(f"{folder}: {len(unknown)} {what} are not {wanted}, the first of them {unknown[0][:60]!r}")
    return Photos(paths, [index[name] for name in names], subject.view)


def _index_of(subject: Pretrained) -> dict[str, int]:
    """Class index by name and by wnid; a name that two classes share is left out."""
    classes = subject.view.classes
    index = {name: i for i, name in enumerate(classes) if classes.count(name) == 1}
    return index | {wnid: i for i, wnid in enumerate(subject.wnids)}


def with_progress(batches: Any, what: str) -> Any:
    """The batches, counted on a terminal."""
    from tqdm import tqdm

    return tqdm(batches, desc=what, unit="batch", leave=False, dynamic_ncols=True, disable=not sys.stderr.isatty())


def paths_of(dataset: Any) -> list[str]:
    """The files of an `ImageFolder`, or of a part of one."""
    if hasattr(dataset, "samples"):
        return [path for path, _ in dataset.samples]
    return [dataset.dataset.samples[i][0] for i in dataset.indices]


def check_photos(paths: list[str]) -> None:
    """Read every file ahead of a long run; `ValueError` that counts those that cannot be read and names the first."""
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        wrong = [problem for problem in pool.map(_problem, paths) if problem]
    if wrong:
        raise ValueError(f"{len(wrong)} of {len(paths)} images cannot be used: {wrong[0]}")


def _problem(path: str) -> str | None:
    from ..data import read_image

    try:
        read_image(path)
    except (ValueError, OSError) as error:
        return str(error)
    return None
