"""Models from weight files: published ones (ImageNet), and the checkpoints of minicnn train and finetune."""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .view import View, view_of

Array = np.ndarray

RESNETS = ("resnet18", "resnet34")
IMAGENET = 1000  # classes
SIZE, SHORT = 224, 256  # a published ResNet is tested on the middle 224 x 224 of a short side of 256


@dataclass(frozen=True)
class Pretrained:
    """A model with what it takes to use it."""

    name: str
    model: Any
    view: View
    wnids: tuple[str, ...] = ()  # ImageNet's names of the classes, where it was trained on those
    path: Path | None = None  # of the file

    def compiled(self, batch: int = 1) -> Any:
        """The model as `minicnn.compile` makes it."""
        import minicnn

        return minicnn.compile(self.model, (batch, self.view.channels, self.view.size, self.view.size))


def open_pretrained(path: str, name: str | None = None) -> Pretrained:
    """The model in a weight file, a checkpoint or a run folder; name: of the network, None tells it by the keys.

    `OSError` or `ValueError`, in one line that names the file, for what cannot be read or does not fit.
    """
    from ..training import load_checkpoint
    from ..training.checkpoint import is_checkpoint
    from ..training.runfolder import find_checkpoint

    if Path(path).is_dir() or is_checkpoint(path):
        return open_trained(load_checkpoint(found := find_checkpoint(path)), found, name)
    return _open_weights(path, name)


def open_trained(state: dict[str, Any], path: Path, name: str | None = None) -> Pretrained:
    """The model in a checkpoint of minicnn train or finetune."""
    from .build import model_of

    kept = state["recipe"]["model"]
    if name not in (None, kept):
        raise ValueError(f"{path}: holds a {kept}, not a {name}")
    view = view_of(state)
    return Pretrained(kept, model_of(state).eval(), view, _wnids(view.classes), path)


def _open_weights(path: str, name: str | None) -> Pretrained:
    """A bare state dict with torchvision's keys."""
    from .. import models
    from ..data import transforms
    from .convert import state_dict_of

    state = state_dict_of(path)
    name = name or _name_of(path, state)
    head = state.get("fc.weight")
    if head is None or head.ndim != 2 or len(head) == 0:
        found = "no fc.weight" if head is None else f"an fc.weight of shape {head.shape}"
        raise ValueError(f"{path}: not the weights of a {name}, it has {found} among its {len(state)} arrays")
    model = getattr(models, name)(num_classes=len(head))
    try:
        model.load_state_dict(state)
    except ValueError as problem:
        raise ValueError(
            f"{path}: not the weights of a {name}: {str(problem).partition('fit ')[2] or problem}"
        ) from None
    names = tuple(one.name for one in models.imagenet_classes())
    if len(head) != IMAGENET:
        names = tuple(f"class {i}" for i in range(len(head)))
    mean, std = tuple(transforms.IMAGENET_MEAN), tuple(transforms.IMAGENET_STD)
    view = View(names, 3, SIZE, mean, std, fit="crop", short=SHORT)
    return Pretrained(name, model.eval(), view, _wnids(names), Path(path))


def _name_of(path: str, state: dict[str, Array]) -> str:
    """Which ResNet has these keys: the third block of the first stage is in the 34 layers, not in the 18."""
    if "layer1.0.conv3.weight" in state:
        raise ValueError(f"{path}: a ResNet of bottleneck blocks (it has layer1.0.conv3); known: {', '.join(RESNETS)}")
    return "resnet34" if "layer1.2.conv1.weight" in state else "resnet18"


def _wnids(classes: tuple[str, ...]) -> tuple[str, ...]:
    """The wnids of ImageNet's 1000 classes, () if these are others."""
    from ..models import imagenet_classes

    known = imagenet_classes()
    same = len(classes) == len(known) and all(name == one.name for name, one in zip(classes, known))
    return tuple(one.wnid for one in known) if same else ()


def add_subject(parser: argparse.ArgumentParser) -> None:
    """The model of a command: MODEL, --weights."""
    parser.add_argument(
        "checkpoint", metavar="MODEL",
        help=f"a checkpoint of minicnn train or finetune, its run folder, or {' or '.join(RESNETS)} with --weights",
    )  # fmt: skip
    parser.add_argument(
        "--weights", metavar="FILE", help="published weights of a ResNet (.pth, .safetensors, .npz; nothing is run)"
    )


def subject_of(args: argparse.Namespace) -> Pretrained:
    """The model that the command line names."""
    if args.checkpoint in RESNETS:
        if args.weights is None:
            raise ValueError(
                f"{args.checkpoint}: --weights FILE is needed, such as torchvision's {args.checkpoint}-….pth"
            )
        return open_pretrained(args.weights, args.checkpoint)
    if args.weights is not None:
        raise ValueError(f"--weights: goes with {' or '.join(RESNETS)}; {args.checkpoint} has its own")
    from ..training import load_checkpoint
    from ..training.checkpoint import is_checkpoint
    from ..training.runfolder import find_checkpoint

    path = find_checkpoint(args.checkpoint)
    if path.is_file() and not is_checkpoint(path):
        raise ValueError(f"{path}: no checkpoint of minicnn; bare weights are given as {RESNETS[0]} --weights {path}")
    return open_trained(load_checkpoint(path), path)
