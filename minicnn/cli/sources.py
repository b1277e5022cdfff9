"""Where the images of a run come from, and how they reach the model."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..random import generator
from .options import DATA_SETS
from .recipe import Recipe
from .view import View

Array = np.ndarray

SHIFT = 0.08  # of the side: 1 pixel of 8, 2 of 28, 3 of 32
TEST_PIXELS = 1 << 20  # of a batch of test images, at most 256 of them: 20 of 224 x 224, or a ResNet takes gigabytes
# Mean and standard deviation a channel of the training images, in [0, 1].
STATISTICS = {
    "digits": ((0.3053,), (0.3760,)),
    "mnist": ((0.1307,), (0.3081,)),
    "fashion-mnist": ((0.2860,), (0.3530,)),
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
}


@dataclass(frozen=True)
class Source:
    """Two data sets of (image in [0, 1], label), and how a model is to see them."""

    train: Any
    test: Any
    view: View
    in_memory: bool  # as arrays; else files that are decoded, and augmented, one by one

    def batches(self, recipe: Recipe) -> tuple["Batches", "Batches"]:
        """(training, test) batches, normalised; the training ones in a new order each epoch and augmented."""
        from ..data import DataLoader

        # Batch norm cannot learn from a last batch of a single image whose maps are single values: leave it out.
        alone = len(self.train) % recipe.batch_size == 1 and len(self.train) > 1
        loader = DataLoader(self.train, recipe.batch_size, shuffle=True, drop_last=alone, workers=self.workers)
        changes = recipe.augment.split(",") if self.in_memory else []
        return Batches(loader, self.view, changes), Batches(self.test_images(), self.view)

    def test_images(self) -> Any:
        """The test images in batches, as they are."""
        from ..data import DataLoader

        size = max(1, min(256, TEST_PIXELS // self.view.size**2))
        return DataLoader(self.test, size, workers=self.workers)

    @property
    def workers(self) -> int:
        """Threads that decode photographs ahead; arrays in memory are faster without."""
        return 0 if self.in_memory else min(4, os.cpu_count() or 1)


class Batches:
    """A loader whose images are augmented, then normalised."""

    def __init__(self, loader: Any, view: View, changes: list[str] | None = None):
        self.loader, self.view, self.changes = loader, view, changes or []

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[tuple[Array, Array]]:
        from ..training.augment import flip, shift

        for x, target in self.loader:
            if "shift" in self.changes:
                x = shift(x, max(1, round(SHIFT * x.shape[-1])), generator())
            if "flip" in self.changes:
                x = flip(x, generator())
            yield self.view.normalise(x), target


def open_source(recipe: Recipe, root: str | None) -> Source:
    """The data set that the recipe names. What is missing of a published one is downloaded into root.

    `OSError` or `ValueError` in one line for what cannot be found, fetched or read.
    """
    colour = recipe.model.startswith("resnet")
    if recipe.data in DATA_SETS:
        _refuse_folder_options(recipe)
        train, test = open_set(recipe.data, root, train=True), open_set(recipe.data, root, train=False)
        return Source(train, test, set_view(recipe.data, train, colour), in_memory=True)
    return _open_folder(recipe, folder_of(recipe.data, root))


def open_test(recipe: Recipe, root: str | None, view: View) -> Source:
    """The test images of a data set for a model that sees images as `view` says; a folder without parts as a whole."""
    if recipe.data in DATA_SETS:
        test = open_set(recipe.data, root, train=False)
        own = set_view(recipe.data, test, colour=view.channels == 3)
        return Source(None, test, replace(own, mean=view.mean, std=view.std), in_memory=True)
    train_folder, test_folder = folder_parts(folder_of(recipe.data, root))
    test = _whole_images(test_folder or train_folder, view.size, view.short)
    if tuple(test.classes) != view.classes:
        raise ValueError(f"{test_folder or train_folder}: its classes are not those that the model was trained on")
    return Source(None, test, view, in_memory=False)


def open_set(name: str, root: str | None, train: bool) -> Any:
    """One part of a published data set, or of the digits that ship with the package."""
    from .. import data

    if name == "digits":
        return data.Digits(train=train)
    root = root or os.environ.get("MINICNN_DATA") or "data"
    kind = {"mnist": data.MNIST, "fashion-mnist": data.FashionMNIST, "cifar10": data.CIFAR10}[name]
    try:
        return kind(root, train=train)
    except FileNotFoundError:
        return kind(data.download(name, root), train=train)


def set_view(name: str, dataset: Any, colour: bool) -> View:
    _, channels, size, _ = dataset.images.shape
    mean, std = STATISTICS[name]
    if colour and channels == 1:
        channels, mean, std = 3, mean * 3, std * 3
    return View(tuple(dataset.classes), channels, size, mean, std)


def full_name(name: str, root: str | None) -> str:
    """What --data names, so that it can be found from anywhere: a set's name, or the whole path of a folder."""
    return name if name in DATA_SETS else str(folder_of(name, root))


def folder_of(name: str, root: str | None) -> Path:
    """The folder of images that --data names, below --root where that is given."""
    folder = Path(root or "") / Path(name).expanduser()
    if not folder.is_dir():
        raise FileNotFoundError(f"--data {name}: neither {', '.join(DATA_SETS)} nor a folder of images")
    return folder.resolve()


def folder_parts(folder: Path) -> tuple[Path, Path | None]:
    """(the training folder, the test folder): train/ and val/ or test/ where there are such, else (folder, None)."""
    if not (folder / "train").is_dir():
        return folder, None
    for name in ("val", "test"):
        if (folder / name).is_dir():
            return folder / "train", folder / name
    return folder / "train", None


def _open_folder(recipe: Recipe, folder: Path) -> Source:
    """Photographs: the test images are those in val/ (or test/), else a share of each class, drawn by the seed."""
    from ..data import ImageFolder, Subset, stratified_split, transforms

    size, short = recipe.image_size, recipe.short_side
    if "shift" in recipe.augment:
        raise ValueError("--augment shift: for folders of images it is crop, flip or both")
    crop = [transforms.RandomResizedCrop(size, scale=(recipe.crop_scale, 1.0))]
    steps = crop if "crop" in recipe.augment else _whole_image(size, short)
    steps += [transforms.RandomHorizontalFlip()] if "flip" in recipe.augment else []
    train_folder, test_folder = folder_parts(folder)
    train = ImageFolder(train_folder, transforms.Compose([*steps, transforms.ToArray()]))
    test = _whole_images(test_folder or train_folder, size, short)
    if test.classes != train.classes:
        raise ValueError(f"{test_folder}: its classes are not those of {train_folder}")
    mean, std = transforms.IMAGENET_MEAN, transforms.IMAGENET_STD
    view = View(tuple(train.classes), 3, size, tuple(mean), tuple(std), fit="crop", short=short)
    if test_folder is None:
        kept, held = stratified_split(train.targets, recipe.val_fraction, seed=recipe.seed)
        if len(kept) == 0 or len(held) == 0:
            raise ValueError(f"{folder}: {len(train)} images are too few to hold back {recipe.val_fraction:g} of them")
        train, test = Subset(train, kept), Subset(test, held)
    return Source(train, test, view, in_memory=False)


def _whole_images(folder: Path, size: int, short: int) -> Any:
    """A folder of photographs as they are tested: the short side at `short` (0: `size`), the centre cut out."""
    from ..data import ImageFolder, transforms

    return ImageFolder(folder, transforms.Compose([*_whole_image(size, short), transforms.ToArray()]))


def _whole_image(size: int, short: int) -> list[Any]:
    from ..data import transforms

    return [transforms.Resize(short or size), transforms.CenterCrop(size)]


def _refuse_folder_options(recipe: Recipe) -> None:
    if recipe.image_size:
        raise ValueError(
            f"--image-size {recipe.image_size}: only for folders of images; {recipe.data} has its own size"
        )
    if "crop" in recipe.augment:
        raise ValueError(f"--augment crop: only for folders of images; for {recipe.data} it is shift, flip or both")
