"""minicnn similar: which images of an index look most like this one, to the network."""

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from .embed import embedder
from .options import add_json, add_machine, use_machine, whole
from .output import print_json, table
from .photos import UNKNOWN
from .pretrained import open_pretrained

Array = np.ndarray


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "similar", help="find the images most like one",
        description="The images of an index of minicnn embed whose features have the largest cosine with those of an "
        "image: 1 is the same direction, 0 nothing in common.",
    )  # fmt: skip
    parser.add_argument("image", metavar="IMAGE", help="JPEG, PNG, BMP, WebP, GIF or TIFF")
    parser.add_argument("--index", metavar="FILE", required=True, help="what minicnn embed wrote")
    parser.add_argument("--weights", metavar="FILE", help="where the weights of the index are now, if they were moved")
    parser.add_argument("--top", type=whole(1), default=5, metavar="K", help="how many images (default: 5)")
    add_machine(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    use_machine(args)
    index = read_index(args.index)
    subject = open_pretrained(args.weights or str(index["weights"]))
    compute, key = embedder(subject)
    if key != str(index["key"]):
        raise ValueError(f"{subject.path}: not the weights that {args.index} was made with")
    feature = compute(subject.view.normalise(subject.view.open(args.image)[np.newaxis]))[0]
    order, cosines = nearest(feature, index["features"], args.top)
    found = [
        {
            "image": str(Path(str(index["folder"])) / str(index["files"][i])),
            "cosine": float(cosine),
            "class": str(index["classes"][index["labels"][i]]) if index["labels"][i] != UNKNOWN else None,
        }
        for i, cosine in zip(order, cosines)
    ]
    if args.json:
        print_json({"image": args.image, "similar": found})
    else:
        rows = [(one["image"], one["class"] or "", f"{one['cosine']:.4f}") for one in found]
        print(table(("image", "class", "cosine"), rows, left=2))
    return 0


def read_index(path: str) -> dict[str, Array]:
    """The arrays of an index. `ValueError`, naming the file, for any other content."""
    from .. import load

    found = load(path)
    wanted = ("features", "files", "labels", "classes", "folder", "weights", "key")
    if not isinstance(found, dict) or not all(isinstance(found.get(name), np.ndarray) for name in wanted):
        raise ValueError(f"{path}: not an index of minicnn embed")
    rows, files, labels = found["features"], found["files"], found["labels"]
    fits = rows.ndim == 2 and files.shape == labels.shape == rows.shape[:1] and labels.dtype.kind == "i"
    if not fits or not len(rows) or not -1 <= labels.min() <= labels.max() < max(1, len(found["classes"])):
        raise ValueError(f"{path}: damaged: its arrays do not fit together")
    return found


def nearest(feature: Array, rows: Array, most: int) -> tuple[Array, Array]:
    """(which rows, their cosines), the largest first. A row of zeros has cosine 0 with everything.

    >>> nearest(np.array([1.0, 0.0]), np.array([[0.0, 2.0], [3.0, 0.0], [1.0, 1.0]]), 2)
    (array([1, 2]), array([1.        , 0.70710678]))
    """
    lengths = np.linalg.norm(rows, axis=1) * np.linalg.norm(feature)
    cosines = np.divide(rows @ feature, lengths, out=np.zeros(len(rows), rows.dtype), where=lengths > 0)
    order = np.argsort(-cosines, kind="stable")[:most]
    return order, cosines[order]
