"""A run of minicnn train or finetune, from its settings to its pictures; and how a stopped one is found again."""

import argparse
import os
import platform
import sys
import time
from pathlib import Path
from typing import Any

from .output import percent, print_json
from .recipe import Recipe, given_options


class TrainingRun:
    """One run, from the settings to the pictures."""

    def __init__(self, recipe: Recipe, args: argparse.Namespace, folder: Any, state: dict[str, Any] | None):
        import minicnn

        from ..training import Progress, Trainer
        from ..training.runfolder import RunFolder
        from .build import build_model, build_optimizer, build_schedule
        from .sources import open_source

        self.began = time.perf_counter()
        self.recipe, self.args = recipe, args
        self.lines = sys.stderr if args.json else sys.stdout
        root = args.root or (state["root"] if state else None)
        self.root = None if root is None else os.path.abspath(root)  # a resumed run may start elsewhere
        self.source = open_source(recipe, self.root)
        minicnn.manual_seed(recipe.seed)
        self.train_batches, self.test_batches = self.source.batches(recipe)
        self.model = build_model(recipe.model, self.source.view)
        optimizer = build_optimizer(recipe, self.model.parameters())
        schedule = build_schedule(recipe, optimizer, len(self.train_batches))
        criterion = minicnn.nn.CrossEntropyLoss(label_smoothing=recipe.label_smoothing)
        self.progress = Progress(recipe.epochs, self.lines)
        callbacks = [] if args.quiet else [self.progress]
        self.trainer = Trainer(self.model, criterion, optimizer, schedule, callbacks)
        self.folder = folder or RunFolder.new(args.output, f"{Path(recipe.data).name}-{recipe.model}")
        if state is None:
            self.folder.write_json("settings.json", self.settings())
            self.folder.save(self.state(), is_best=False)  # so that a run stopped in its first epoch can be resumed
        else:
            self.trainer.load_state_dict(state)

    def train(self) -> None:
        """The epochs that are missing, each followed by its checkpoint; then the pictures."""
        from ..training import Callback
        from .ahead import compiling_ahead

        folder, state = self.folder, self.state

        class Checkpoints(Callback):
            def on_epoch_end(self, trainer: Any, record: dict[str, float]) -> None:
                folder.save(state(), is_best=trainer.history.best() == len(trainer.history) - 1)

        self.trainer.callbacks.insert(0, Checkpoints())
        self.say(self.headline())
        missing = self.recipe.epochs - len(self.trainer.history)
        with compiling_ahead(self.recipe, self.source.view):
            self.trainer.fit(self.train_batches, self.test_batches, epochs=max(0, missing))
        self.pictures()

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds: the run as it stands, and what it takes to use the model without the run."""
        return {
            "minicnn": minicnn_version(),
            "recipe": self.recipe.as_dict(),
            "view": self.source.view.as_dict(),
            "root": self.root,
            **self.trainer.state_dict(),
        }

    def settings(self) -> dict[str, Any]:
        """What settings.json holds: everything that decides the outcome, and where it ran."""
        import numba
        import numpy

        import minicnn

        return {
            **self.recipe.as_dict(),
            "classes": list(self.source.view.classes),
            "train_images": len(self.source.train),
            "test_images": len(self.source.test),
            "parameters": sum(parameter.data.size for parameter in self.model.parameters()),
            "threads": minicnn.get_num_threads(),
            "versions": {
                "minicnn": minicnn.__version__,
                "python": platform.python_version(),
                "numpy": numpy.__version__,
                "numba": numba.__version__,
            },
        }

    def headline(self) -> str:
        import minicnn

        count = sum(parameter.data.size for parameter in self.model.parameters())
        threads = minicnn.get_num_threads()
        return (
            f"{self.recipe.model} ({count:,} parameters) on {self.recipe.data}: {len(self.source.train)} train, "
            f"{len(self.source.test)} test images of {len(self.source.view.classes)} classes; "
            f"{minicnn.get_backend()}, {threads} thread{'s' if threads > 1 else ''}"
        )

    def pictures(self) -> None:
        """curves.png and misclassified.png of the best epoch, where matplotlib is installed."""
        from ..training import plots
        from .mistakes import mistakes

        if not plots.available():
            return
        title = f"{self.recipe.model} on {Path(self.recipe.data).name}"
        self.folder.write("curves.png", plots.curves(self.trainer.history, title))
        self.model.load_state_dict(self.best_state()["model"])
        wrong = mistakes(self.model, self.source.test_images(), self.source.view)
        self.folder.write(
            "misclassified.png", plots.misclassified(*wrong, self.source.view.classes, len(self.source.test))
        )

    def best_state(self) -> dict[str, Any]:
        from ..training import load_checkpoint

        return load_checkpoint(self.folder.best)

    def report(self, args: argparse.Namespace) -> None:
        """The last lines, or the JSON."""
        history = self.trainer.history
        best = history.best()
        if args.json:
            print_json(self.figures())
        self.say(f"best: epoch {best + 1}, test accuracy {percent(history[best]['val_accuracy'])}")
        written = sorted(path.name for path in self.folder.path.iterdir() if not path.name.startswith("."))
        self.say(f"{self.folder.path}: {', '.join(written)}")

    def figures(self) -> dict[str, Any]:
        """What --json prints."""
        history = self.trainer.history
        best = history.best()
        return {
            "run": str(self.folder.path),
            "settings": self.settings(),
            "history": list(history),
            "best": {"epoch": best + 1, **history[best]},
            "seconds": time.perf_counter() - self.began,
        }

    def say(self, text: str) -> None:
        if not self.args.quiet:
            print(text, file=self.lines, flush=True)


def minicnn_version() -> str:
    import minicnn

    return minicnn.__version__


def run_to_resume(args: argparse.Namespace) -> Path:
    """The folder that --resume names, or --output, or the newest in runs."""
    if args.resume:
        path = Path(args.resume)
        path = path.parent if path.is_file() else path
        if args.output is not None and Path(args.output).resolve() != path.resolve():
            raise ValueError("--output: a resumed run stays in its folder; leave it out")
        return path
    if args.output is not None:
        return Path(args.output)
    found = sorted(Path("runs").glob("*/last.safetensors"), key=lambda file: file.stat().st_mtime)
    if not found:
        raise FileNotFoundError("--resume: there is no run in the folder runs; name one")
    return found[-1].parent


def recipe_to_resume(args: argparse.Namespace, state: dict[str, Any]) -> Recipe:
    """The recipe of the run; `ValueError` for an option that contradicts it."""
    from .sources import full_name

    recipe = Recipe(**state["recipe"])
    if args.data is not None:
        args.data = full_name(args.data, args.root)
    for name, value in given_options(args).items():
        if value != getattr(recipe, name):
            option = f"--{name.replace('_', '-')}"
            raise ValueError(f"{option} {value}: the run was started with {getattr(recipe, name)} and keeps it")
    return recipe
