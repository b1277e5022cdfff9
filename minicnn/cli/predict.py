"""minicnn predict: what is on these images?"""

import argparse
from typing import Any

import numpy as np

from .mistakes import probabilities
from .options import add_json, add_machine, use_machine, whole
from .output import percent, print_json
from .pretrained import Pretrained, add_subject, subject_of

Array = np.ndarray


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "predict", help="classify image files",
        description="The most probable classes of image files. They are read as in training: as grey or colour, at the "
        "model's size, normalised. Published ResNets name the 1000 classes of ImageNet.",
    )  # fmt: skip
    add_subject(parser)
    parser.add_argument("images", metavar="IMAGE", nargs="+", help="JPEG, PNG, BMP, WebP, GIF or TIFF")
    parser.add_argument("--top", type=whole(1), metavar="K", help="how many classes (default: 3, of ImageNet's 5)")
    parser.add_argument(
        "--invert", action="store_true",
        help="swap light and dark first: MNIST and the digits are light strokes on black, paper is the other way round",
    )  # fmt: skip
    add_machine(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    use_machine(args)
    subject = subject_of(args)
    model, top = subject.compiled(), args.top or (5 if subject.wnids else 3)
    found = []
    for path in args.images:
        x = subject.view.open(path)[np.newaxis]
        sure = probabilities(model, subject.view.normalise(1 - x if args.invert else x))[0]
        best = best_classes(subject, sure, top)
        found.append({"image": path, "classes": best})
        if not args.json:
            print(f"{path}: " + ", ".join(f"{one['class']} {percent(one['probability'])}" for one in best), flush=True)
    if args.json:
        print_json(found)
    return 0


def best_classes(subject: Pretrained, sure: Array, top: int) -> list[dict[str, Any]]:
    """The most probable classes, each with its index and, of ImageNet's, the wnid."""
    best = np.argsort(-sure, kind="stable")[:top]
    return [
        {
            "class": subject.view.classes[i],
            "probability": float(sure[i]),
            "index": int(i),
            **({"wnid": subject.wnids[i]} if subject.wnids else {}),
        }
        for i in best
    ]
