"""minicnn predict: what is on these images?"""

import argparse
from typing import Any

import numpy as np

from .mistakes import probabilities
from .options import add_json, add_machine, use_machine, whole
from .output import percent, print_json


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "predict", help="classify image files",
        description="The most probable classes of image files. They are read as in training: as grey or colour, at the "
        "model's size, normalised.",
    )  # fmt: skip
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="a checkpoint of minicnn train, or its run folder")
    parser.add_argument("images", metavar="IMAGE", nargs="+", help="JPEG, PNG, BMP, WebP, GIF or TIFF")
    parser.add_argument("--top", type=whole(1), default=3, metavar="K", help="how many classes (default: 3)")
    parser.add_argument(
        "--invert", action="store_true",
        help="swap light and dark first: MNIST and the digits are light strokes on black, paper is the other way round",
    )  # fmt: skip
    add_machine(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from ..training.runfolder import load_run
    from .build import model_of
    from .view import view_of

    state = load_run(args.checkpoint)
    view = view_of(state)
    use_machine(args)
    model = model_of(state).eval()
    found = []
    for path in args.images:
        x = view.open(path)[np.newaxis]
        sure = probabilities(model, view.normalise(1 - x if args.invert else x))[0]
        best = np.argsort(-sure, kind="stable")[: args.top]
        classes = [{"class": view.classes[i], "probability": float(sure[i])} for i in best]
        found.append({"image": path, "classes": classes})
        if not args.json:
            print(f"{path}: " + ", ".join(f"{view.classes[i]} {percent(sure[i])}" for i in best))
    if args.json:
        print_json(found)
    return 0
