"""minicnn train: a model from images, into a run folder."""

import argparse
from typing import Any

from .options import MODELS, add_data, add_json, add_machine, names, real, use_machine, whole
from .output import complain
from .recipe import AUGMENTATIONS, OPTIMIZERS, SCHEDULES, recipe_of
from .training_run import TrainingRun, recipe_to_resume, run_to_resume


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "train", help="train a model",
        description="Train a model. Without options: SimpleCNN on the handwritten digits that ship with minicnn. "
        "Each data set has its own defaults for the options from --epochs to --augment.",
    )  # fmt: skip
    add_data(parser)
    parser.add_argument("--model", choices=MODELS, help="default: simple_cnn")
    parser.add_argument("--epochs", type=whole(1), metavar="N", help="passes over the training images")
    parser.add_argument("--batch-size", type=whole(1), metavar="N", help="images a step")
    parser.add_argument("--optimizer", "--optimiser", choices=OPTIMIZERS, help="default: sgd")
    parser.add_argument("--schedule", choices=SCHEDULES, help="how the learning rate moves (default: onecycle)")
    parser.add_argument("--lr", type=real(0, open_low=True), metavar="X", help="the highest learning rate")
    parser.add_argument("--momentum", type=real(0, 1), metavar="X", help="of sgd and rmsprop")
    parser.add_argument("--weight-decay", type=real(0), metavar="X")
    parser.add_argument("--label-smoothing", type=real(0, 1), metavar="X")
    parser.add_argument("--seed", type=whole(0), metavar="N", help="of everything that is random (default: 0)")
    parser.add_argument(
        "--augment", type=names(AUGMENTATIONS), metavar="LIST",
        help="random changes to the training images: none, or of shift,flip,crop (crop: folders only)",
    )  # fmt: skip
    parser.add_argument("--image-size", type=whole(8), metavar="N", help="side in pixels (folders only; default: 64)")
    parser.add_argument(
        "--val-fraction", type=real(0, 1, open_low=True), metavar="X",
        help="share held back for testing where the data has no part for it (default: 0.2)",
    )  # fmt: skip
    add_machine(parser)
    parser.add_argument("--output", metavar="DIR", help="the run folder (default: runs/<data>-<model>-<number>)")
    parser.add_argument(
        "--resume", metavar="RUN", nargs="?", const="",
        help="go on with a stopped run as if it had not been stopped (without RUN: --output, or the newest in runs)",
    )  # fmt: skip
    parser.add_argument("--quiet", action="store_true", help="print nothing but errors, and the JSON of --json")
    add_json(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from ..training.runfolder import LAST, RunFolder, load_run
    from .sources import full_name

    if args.resume is None:
        args.data = full_name(args.data or "digits", args.root)
        recipe, state = recipe_of(args), None
        folder = None
    else:
        folder = RunFolder(run_to_resume(args))
        state = load_run(folder.path, prefer=LAST)
        recipe = recipe_to_resume(args, state)
        if recipe.weights:
            raise ValueError(f"{folder.path}: a run of minicnn finetune, which resumes it")
        folder.tidy()
    args.backend = recipe.backend
    use_machine(args)
    current = TrainingRun(recipe, args, folder, state)
    try:
        current.train()
    except KeyboardInterrupt:
        current.progress.close()
        where = current.folder.path
        return complain("minicnn train", f"stopped; go on with: minicnn train --resume {where}", 130)
    current.report(args)
    return 0
