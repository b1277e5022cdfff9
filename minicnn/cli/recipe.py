"""What decides the outcome of a training run, and the values that work for each data set."""

import argparse
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

OPTIMIZERS = ("sgd", "adam", "adamw", "rmsprop")
SCHEDULES = ("onecycle", "cosine", "step", "constant")
AUGMENTATIONS = ("shift", "flip", "crop")


@dataclass(frozen=True)
class Recipe:
    """The settings of a run. With the same recipe and data a run repeats to the bit, on any number of threads."""

    data: str = "digits"
    model: str = "simple_cnn"
    epochs: int = 20
    batch_size: int = 32
    optimizer: str = "sgd"
    schedule: str = "onecycle"
    lr: float = 0.05
    momentum: float = 0.9  # of SGD and RMSprop
    weight_decay: float = 5e-4
    label_smoothing: float = 0.0
    augment: str = "none"
    crop_scale: float = 0.08  # the least share of a photograph that a random crop keeps
    image_size: int = 0  # 0: as the images are (folders: 64, ResNets: 224)
    short_side: int = 0  # of a test image before its centre is cut out; 0: image_size
    val_fraction: float = 0.2  # held back for testing where the data has no part for it
    seed: int = 0
    weights: str = ""  # the file that fine-tuning began with
    freeze: str = ""  # and what of it stayed as it was
    batch_norm: str = "move"  # or "keep": all batch norms normalise with the statistics that the weights came with
    backend: str = "cpu"

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


DEFAULTS = {
    "digits": Recipe("digits"),
    "mnist": Recipe("mnist", epochs=3, batch_size=128, lr=0.1, weight_decay=1e-4, augment="shift"),
    "fashion-mnist": Recipe("fashion-mnist", epochs=5, batch_size=128, lr=0.1, weight_decay=1e-4, augment="flip"),
    "cifar10": Recipe("cifar10", epochs=15, batch_size=128, lr=0.1, augment="shift,flip"),
}
FOLDER = Recipe("", epochs=10, batch_size=32, lr=0.02, augment="crop,flip", image_size=64)


def recipe_of(args: argparse.Namespace) -> Recipe:
    """The default of the data set with what was given on the command line."""
    base = DEFAULTS.get(args.data) or replace(FOLDER, data=args.data)
    given = given_options(args)
    if given.get("model", "simple_cnn").startswith("resnet") and args.data not in DEFAULTS:
        base = replace(base, image_size=224)
    if given.get("optimizer") in ("adam", "adamw", "rmsprop"):
        base = replace(base, lr=1e-3)  # the rate of SGD would be far too large
    return replace(base, **given)


def given_options(args: argparse.Namespace) -> dict[str, Any]:
    """Those options that stand on the command line."""
    return {
        field.name: getattr(args, field.name) for field in fields(Recipe) if getattr(args, field.name, None) is not None
    }
