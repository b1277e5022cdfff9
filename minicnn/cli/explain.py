"""minicnn explain: a network opened up on one image, as a page and as pictures."""

import argparse
import os
import time
from pathlib import Path
from typing import Any

import numpy as np

from .options import MODELS, add_json, add_machine, use_machine
from .output import print_json
from .pretrained import IMAGENET, RESNETS, SHORT, SIZE, Pretrained, subject_of
from .view import View

Array = np.ndarray


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "explain", help="open a network up on one image: every number of its forward and backward, as a page",
        description="One forward, loss and backward of a model on one image, written as one HTML file that needs no "
        "network and no server: feature maps, gradients, and for each number how it came to be and where its gradient "
        "goes; what one step of SGD would do. --png FOLDER writes pictures: saliency, occlusion, Grad-CAM, filters.",
    )  # fmt: skip
    parser.add_argument(
        "checkpoint", metavar="MODEL", nargs="?",
        help=f"a checkpoint or run folder, or {', '.join(MODELS)}, untrained without --weights (default: simple_cnn)",
    )  # fmt: skip
    parser.add_argument("image", metavar="IMAGE", help="JPEG, PNG, BMP, WebP, GIF or TIFF")
    parser.add_argument("-o", "--output", metavar="FILE", help="the page (explain.html; none with --png alone)")
    parser.add_argument("--png", metavar="FOLDER", help="write pictures into this folder")
    parser.add_argument("--weights", metavar="FILE", help="published weights of a ResNet")
    parser.add_argument("--target", metavar="CLASS", help="name or index; default: the class that the model finds")
    parser.add_argument(
        "--train", action="store_true", help="training mode: batch norms take the statistics of this one image"
    )
    parser.add_argument("--invert", action="store_true", help="swap light and dark first, as minicnn predict does")
    add_machine(parser)
    add_json(parser)
    parser.set_defaults(run=run)
    plain = parser.parse_known_args

    def in_any_order(words: Any = None, namespace: Any = None) -> Any:
        """MODEL --weights FILE IMAGE too: argparse alone takes MODEL for the image there and IMAGE for a mistake."""
        found, left = plain(words, namespace)
        if found.checkpoint is None and len(left) == 1 and not left[0].startswith("-"):
            found.checkpoint, found.image = found.image, left.pop()
        return found, left

    parser.parse_known_args = in_any_order


def run(args: argparse.Namespace) -> int:
    from ..inspect import explain

    began = time.perf_counter()
    use_machine(args)
    subject, trained = _subject(args)
    target = None if args.target is None else class_index(args.target, subject.view.classes)
    shown = subject.view.open(args.image)
    shown = 1 - shown if args.invert else shown
    x = subject.view.normalise(shown[np.newaxis])
    found: dict[str, Any] = {"image": args.image, "model": subject.name, "trained": trained}
    if args.output is not None or args.png is None:
        page = explain(
            subject.model, x, target, classes=subject.view.classes, shown=shown, training=args.train,
            name=subject.name if trained else f"{subject.name}, untrained",
        )  # fmt: skip
        path = Path(args.output or "explain.html")
        page.write(path)
        kept = page.document
        found |= {"page": str(path), "bytes": os.path.getsize(path), "loss": kept["loss"]}
        found |= {"found": kept["classes"][kept["predicted"]], "target": kept["classes"][kept["target"]]}
    if args.png is not None:
        from .pictures import write_pictures

        found["pictures"] = write_pictures(Path(args.png), subject.model, x, shown, target)
    found["seconds"] = time.perf_counter() - began
    if args.json:
        print_json(found)
    else:
        _print(found)
    return 0


def class_index(text: str, classes: tuple[str, ...]) -> int:
    """A class by its name, or else by its index; `ValueError` for none of them.

    >>> class_index("bee", ("ant", "bee")), class_index("0", ("ant", "bee"))
    (1, 0)
    """
    if text in classes:
        return classes.index(text)
    if text.isdecimal() and int(text[:9]) < len(classes):
        return int(text)
    listed = ", ".join(classes) if len(classes) <= 12 else f"{classes[0]}, {classes[1]}, …"
    raise ValueError(f"--target {text[:40]}: no class of the model; it has {len(classes)}: {listed}"[:399])


def _subject(args: argparse.Namespace) -> tuple[Pretrained, bool]:
    """The model that the command line names, and whether it was trained."""
    name = args.checkpoint or "simple_cnn"
    if name not in MODELS or (name in RESNETS and args.weights is not None):
        args.checkpoint = name
        return subject_of(args), True
    if args.weights is not None:
        raise ValueError(f"--weights: goes with {' or '.join(RESNETS)}, not with {name}")
    return _untrained(name), False


def _untrained(name: str) -> Pretrained:
    """A model with the same random weights each time, seeing images as its trained sibling would."""
    import minicnn

    from ..data import transforms
    from .build import build_model

    if name in RESNETS:
        classes = tuple(one.name for one in minicnn.models.imagenet_classes())[:IMAGENET]
        mean, std = tuple(transforms.IMAGENET_MEAN), tuple(transforms.IMAGENET_STD)
        view = View(classes, 3, SIZE, mean, std, fit="crop", short=SHORT)
    else:
        from .sources import STATISTICS

        view = View(tuple(map(str, range(10))), 1, 28, *STATISTICS["mnist"])
    minicnn.manual_seed(0)
    return Pretrained(name, build_model(name, view).eval(), view)


def _print(found: dict[str, Any]) -> None:
    if not found["trained"]:
        print(f"{found['model']} is untrained: its weights are random")
    if "page" in found:
        print(f"{found['image']}: {found['found']}, loss {found['loss']:.4g} for the target {found['target']}")
        print(f"wrote {found['page']}, {found['bytes'] / 1e6:.1f} MB")
    for path in found.get("pictures", ()):
        print(f"wrote {path}")
    print(f"{found['seconds']:.1f} s")
