"""minicnn eval: how good a trained model is."""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from . import evaluate_weights
from .options import add_data, add_json, add_machine, use_machine
from .output import percent, print_json, table
from .pretrained import RESNETS, add_subject
from .recipe import Recipe
from .sources import Source, full_name, open_source, open_test
from .view import View

Array = np.ndarray


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "eval", help="measure a trained model",
        description="Loss, top-1 and top-5 accuracy of a trained model on the test images of a data set; of published "
        "ResNets (--weights) on --data DIR, whose folders or file names begin with ImageNet's wnids.",
    )  # fmt: skip
    add_subject(parser)
    add_data(parser)
    parser.add_argument(
        "--confusion", action="store_true",
        help="also the confusion matrix: as text, and with matplotlib as confusion.png beside the checkpoint",
    )  # fmt: skip
    parser.add_argument("--output", metavar="DIR", help="the folder for confusion.png")
    add_machine(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from ..training import load_checkpoint
    from ..training.report import confusion_matrix
    from ..training.runfolder import find_checkpoint
    from .build import model_of
    from .view import view_of

    use_machine(args)
    if args.checkpoint in RESNETS:
        return evaluate_weights.run(args)
    if args.weights is not None:
        raise ValueError(f"--weights: goes with {' or '.join(RESNETS)}; {args.checkpoint} has its own")
    path = find_checkpoint(args.checkpoint)
    state = load_checkpoint(path)
    view = view_of(state)
    source = test_source(args, state, view)
    logits, target = predict_all(model_of(state), source)
    figures = measure(logits, target)
    matrix = confusion_matrix(logits.argmax(axis=1), target, len(view.classes))
    if args.json:
        extra = {"confusion": matrix.tolist(), "classes": list(view.classes)} if args.confusion else {}
        print_json({"checkpoint": str(path), "images": len(target), **figures, **extra})
    else:
        print(
            f"{len(target)} images: loss {figures['loss']:.4f}, top-1 {percent(figures['accuracy'])}, "
            f"top-5 {percent(figures['top5'])}"
        )
    if args.confusion:
        write_confusion(matrix, view, Path(args.output or path.parent), quiet=args.json)
    return 0


def test_source(args: argparse.Namespace, state: dict[str, Any], view: View) -> Source:
    """The images to measure on: those held back in the run, or those of another set of the same classes."""
    recipe = Recipe(**state["recipe"])
    name = None if args.data is None else full_name(args.data, args.root)
    if name in (None, recipe.data):
        return open_source(recipe, args.root or state["root"])
    source = open_test(replace(recipe, data=name), args.root, view)
    expected, found = ((len(v.classes), v.channels, v.size, v.size) for v in (view, source.view))
    if found != expected:
        raise ValueError(
            "--data {}: has {} classes of {} x {} x {} images".format(args.data, *found)
            + ", the model was trained on {} of {} x {} x {}".format(*expected)
        )
    return source


def predict_all(model: Any, source: Source) -> tuple[Array, Array]:
    """(logits, targets) of all test images, the model in eval mode."""
    from .. import no_grad

    model.eval()
    with no_grad():
        pairs = [(model(source.view.normalise(x)), target) for x, target in source.test_images()]
    return np.concatenate([y for y, _ in pairs]), np.concatenate([target for _, target in pairs])


def measure(logits: Array, target: Array) -> dict[str, float]:
    """{"loss", "accuracy", "top5"}"""
    from .. import functional as F
    from ..training.trainer import correct

    first, five, count = correct(logits, target)
    return {"loss": float(F.cross_entropy(logits, target)[0]), "accuracy": first / count, "top5": five / count}


def write_confusion(matrix: Array, view: View, folder: Path, quiet: bool) -> None:
    """As text on standard output and, where matplotlib is installed, as confusion.png."""
    from ..files import write_whole
    from ..training import plots

    if not quiet:
        rows = [
            [name[:20], *map(str, line), percent(line[i] / max(1, line.sum()))]
            for i, (name, line) in enumerate(zip(view.classes, matrix))
        ]
        print("\nrows: the true class, columns: the prediction\n")
        print(table(["", *(name[:7] for name in view.classes), "right"], rows))
    if plots.available():
        write_whole(folder / "confusion.png", plots.confusion(matrix, view.classes))
        if not quiet:
            print(f"\n{folder / 'confusion.png'}")
