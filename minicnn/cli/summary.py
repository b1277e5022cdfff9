"""minicnn summary: the layers of a model and what they cost."""

import argparse
from typing import Any

from .options import DATA_SETS, MODELS, add_json, whole
from .output import print_json

SHAPES = {"digits": (1, 8), "mnist": (1, 28), "fashion-mnist": (1, 28), "cifar10": (3, 32)}


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "summary", help="show the layers of a model",
        description="Layers, output shapes, parameters, FLOPs, and the bytes that each layer keeps for its backward, "
        "measured in one forward pass. For a checkpoint: its model and image size.",
    )  # fmt: skip
    parser.add_argument("checkpoint", metavar="CHECKPOINT", nargs="?", help="a checkpoint or run folder")
    parser.add_argument("--model", choices=MODELS, help="default: simple_cnn")
    parser.add_argument("--data", choices=DATA_SETS, help="whose image size and channels (default: digits)")
    parser.add_argument("--image-size", type=whole(1), metavar="N", help="side of the images in pixels")
    parser.add_argument("--channels", type=whole(1), metavar="N", help="1 grey, 3 colour")
    parser.add_argument("--classes", type=whole(1), metavar="N", help="default: 10; ResNets: 1000")
    parser.add_argument("--batch-size", type=whole(1), default=1, metavar="N", help="images (default: 1)")
    add_json(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from ..inspect import summary

    model, channels, size = _from_checkpoint(args) if args.checkpoint else _from_options(args)
    found = summary(model, (args.batch_size, channels, size, size))
    if args.json:
        print_json(found.to_dict())
    else:
        print(found)
    return 0


def _from_checkpoint(args: argparse.Namespace) -> tuple[Any, int, int]:
    from ..training.runfolder import load_run
    from .build import model_of
    from .view import view_of

    for name in ("model", "data", "image_size", "channels", "classes"):
        if getattr(args, name) is not None:
            raise ValueError(f"--{name.replace('_', '-')}: a checkpoint has its own; leave it out")
    state = load_run(args.checkpoint)
    view = view_of(state)
    return model_of(state), view.channels, view.size


def _from_options(args: argparse.Namespace) -> tuple[Any, int, int]:
    from .. import models

    resnet = (args.model or "simple_cnn").startswith("resnet")
    channels, size = SHAPES[args.data] if args.data else (3, 224) if resnet else SHAPES["digits"]
    channels, size = args.channels or channels, args.image_size or size
    if resnet:
        if args.channels not in (None, 3):
            raise ValueError(f"--channels {args.channels}: a ResNet takes 3")
        return getattr(models, args.model)(num_classes=args.classes or 1000), 3, size
    return models.SimpleCNN(channels, args.classes or 10, size), channels, size
