"""minicnn finetune: a trained ResNet learns new classes, into a run folder."""

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from .options import add_json, add_machine, real, use_machine, whole
from .output import complain, percent, table
from .photos import check_photos, paths_of, with_progress
from .pretrained import RESNETS, SHORT, SIZE, open_pretrained
from .recipe import SCHEDULES, Recipe, given_options
from .training_run import TrainingRun, recipe_to_resume, run_to_resume

Array = np.ndarray

BASE = Recipe("", weight_decay=5e-4, image_size=SIZE, batch_norm="keep")
HEAD = replace(BASE, epochs=20, batch_size=32, schedule="cosine", lr=0.01)  # the last layer alone, on kept features
ALL = replace(BASE, epochs=5, batch_size=32, schedule="onecycle", lr=0.0005, augment="crop,flip", crop_scale=0.35)
FEATURES = "features.safetensors"


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "finetune", help="teach a trained ResNet new classes",
        description="Replace the last layer of a trained ResNet by one for the classes of a folder of photographs, and "
        "train it alone (--freeze backbone, the default: the features are computed once), or also what lies before "
        "it.",
    )  # fmt: skip
    parser.add_argument(
        "--weights", metavar="FILE", help=f"of a {' or '.join(RESNETS)}: .pth, .safetensors, .npz, or a checkpoint"
    )
    parser.add_argument("--data", metavar="DIR", help="one folder of images a class, or train/ and val/ with those")
    parser.add_argument(
        "--freeze", metavar="LAYER", help="what stays as it is: backbone (default), none, or all up to a layer (layer2)"
    )
    parser.add_argument(
        "--batch-norm", choices=("keep", "move"),
        help="running statistics: keep those of the weights (default), or move them where nothing is frozen",
    )  # fmt: skip
    parser.add_argument("--epochs", type=whole(1), metavar="N", help="default: 20 with --freeze backbone, else 5")
    parser.add_argument("--batch-size", type=whole(1), metavar="N", help="images a step (default: 32)")
    parser.add_argument("--lr", type=real(0, open_low=True), metavar="X", help="default: 0.01, else 0.0005")
    parser.add_argument("--schedule", choices=SCHEDULES, help="how it moves (default: cosine, else onecycle)")
    parser.add_argument("--momentum", type=real(0, 1), metavar="X", help="of SGD (default: 0.9)")
    parser.add_argument("--weight-decay", type=real(0), metavar="X", help="default: 0.0005")
    parser.add_argument("--label-smoothing", type=real(0, 1), metavar="X", help="default: 0")
    parser.add_argument("--image-size", type=whole(32), metavar="N", help=f"side in pixels (default: {SIZE})")
    parser.add_argument(
        "--val-fraction", type=real(0, 1, open_low=True), metavar="X",
        help="share held back for testing where DIR has no val/ (default: 0.2)",
    )  # fmt: skip
    parser.add_argument("--seed", type=whole(0), metavar="N", help="of everything that is random (default: 0)")
    add_machine(parser)
    parser.add_argument("--output", metavar="DIR", help="the run folder (default: runs/<data>-<model>-<number>)")
    parser.add_argument(
        "--resume", metavar="RUN", nargs="?", const="",
        help="go on with a stopped run as if it had not been stopped (without RUN: --output, or the newest in runs)",
    )  # fmt: skip
    parser.add_argument("--quiet", action="store_true", help="print nothing but errors, and the JSON of --json")
    add_json(parser)
    parser.set_defaults(run=run, root=None)


def run(args: argparse.Namespace) -> int:
    from ..training.runfolder import LAST, RunFolder, load_run

    use_machine(args)
    if args.weights is not None:
        args.weights = str(Path(args.weights).expanduser().resolve())
    folder = state = None
    if args.resume is None:
        recipe = _recipe_of(args)
    else:
        folder = RunFolder(run_to_resume(args))
        state = load_run(folder.path, prefer=LAST)
        recipe = recipe_to_resume(args, state)
        if not recipe.weights:
            raise ValueError(f"{folder.path}: a run of minicnn train, which resumes it")
        folder.tidy()
        args.backend = recipe.backend
        use_machine(args)
    current = _Finetuning(recipe, args, folder, state)
    try:
        current.train()
    except KeyboardInterrupt:
        current.progress.close()
        where = current.folder.path
        return complain("minicnn finetune", f"stopped; go on with: minicnn finetune --resume {where}", 130)
    current.report(args)
    return 0


def _recipe_of(args: argparse.Namespace) -> Recipe:
    """The defaults of what is frozen, with what was given on the command line."""
    for name in ("weights", "data"):
        if getattr(args, name) is None:
            raise ValueError(f"--{name} is needed")
    if not Path(args.data).expanduser().is_dir():
        raise FileNotFoundError(f"--data {args.data}: no such folder")
    if not Path(args.weights).exists():
        raise FileNotFoundError(f"{args.weights}: no such file or folder")
    args.data = str(Path(args.data).expanduser().resolve())
    args.freeze = args.freeze or "backbone"
    recipe = replace(HEAD if args.freeze == "backbone" else ALL, **given_options(args))
    return replace(recipe, short_side=round(recipe.image_size * SHORT / SIZE))


class _Finetuning(TrainingRun):
    """One run: what differs from a training run is where the model comes from and what of it learns."""

    def __init__(self, recipe: Recipe, args: argparse.Namespace, folder: Any, state: dict[str, Any] | None):
        import minicnn

        from ..training import Progress, Trainer
        from ..training.finetune import NormsStay, freeze, last_layer
        from ..training.runfolder import RunFolder
        from .build import build_optimizer, build_schedule
        from .sources import open_source

        self.began = time.perf_counter()
        self.args, self.root = args, None
        self.lines = sys.stderr if args.json else sys.stdout
        self.source = open_source(recipe, None)
        classes = len(self.source.view.classes)
        if classes < 2:
            raise ValueError(f"--data {recipe.data}: has one class, there is nothing to tell apart")
        check_photos([*paths_of(self.source.train), *paths_of(self.source.test)])
        minicnn.manual_seed(recipe.seed)
        self.model, name = self._open_model(recipe, state)
        self.recipe = replace(recipe, model=name)
        freeze(self.model, recipe.freeze)
        self.only_head = recipe.freeze == "backbone"
        self.folder = folder or RunFolder.new(args.output, f"{Path(recipe.data).name}-{name}")
        if self.only_head:
            self.train_batches, self.test_batches = self._feature_batches()
        else:
            if state is None:
                self._start_last_layer()
            self.train_batches, self.test_batches = self.source.batches(recipe)
        learning = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        optimizer = build_optimizer(recipe, learning)
        schedule = build_schedule(recipe, optimizer, len(self.train_batches))
        criterion = minicnn.nn.CrossEntropyLoss(label_smoothing=recipe.label_smoothing)
        self.progress = Progress(recipe.epochs, self.lines)
        callbacks = [NormsStay(every=recipe.batch_norm == "keep"), *([] if args.quiet else [self.progress])]
        trained = getattr(self.model, last_layer(self.model)) if self.only_head else self.model
        self.trainer = Trainer(trained, criterion, optimizer, schedule, callbacks)
        if state is None:
            self.folder.write_json("settings.json", self.settings())
            self.folder.save(self.state(), is_best=False)
        else:
            self.trainer.load_state_dict({**state, "model": trained.state_dict()})

    def _open_model(self, recipe: Recipe, state: dict[str, Any] | None) -> tuple[Any, str]:
        """(the model with the new last layer, its name), from the weights or from where the run was stopped."""
        from ..training.finetune import replace_last_layer
        from .build import model_of

        if state is not None:
            return model_of(state), recipe.model
        found = open_pretrained(recipe.weights)
        if found.name not in RESNETS:
            raise ValueError(f"{recipe.weights}: a {found.name}; what can be fine-tuned is {' or '.join(RESNETS)}")
        replace_last_layer(found.model, len(self.source.view.classes))
        return found.model, found.name

    def _start_last_layer(self) -> None:
        """Train the new layer alone first: a random one would send large, wrong gradients into what is already good.

        (A. Kumar et al., "Fine-tuning can distort pretrained features", 2022: linear probing, then fine-tuning.)
        """
        import minicnn

        from ..training import Trainer
        from ..training.finetune import last_layer
        from .build import build_optimizer, build_schedule

        head = getattr(self.model, last_layer(self.model))
        train, test = self._feature_batches()
        optimizer = build_optimizer(HEAD, head.parameters())
        schedule = build_schedule(HEAD, optimizer, len(train))
        trainer = Trainer(head, minicnn.nn.CrossEntropyLoss(), optimizer, schedule)
        trainer.fit(train, epochs=HEAD.epochs)
        share = percent(trainer.evaluate(test)["accuracy"])
        self.say(f"the last layer alone, {HEAD.epochs} epochs on the features of the others: test accuracy {share}")

    def _feature_batches(self) -> tuple[Any, Any]:
        """(training, test) batches of what the frozen backbone gives; kept in the run folder."""
        from ..data import DataLoader
        from ..training.features import Features

        found = self._features()
        train = Features(found["train"], np.asarray(self.source.train.targets))
        test = Features(found["test"], np.asarray(self.source.test.targets))
        return DataLoader(train, self.recipe.batch_size, shuffle=True), DataLoader(test, max(1, len(test)))

    def _features(self) -> dict[str, Array]:
        """{"train", "test"}: (N, F), read from the run folder where they hold, else computed."""
        import minicnn

        from ..data import Subset
        from ..training import features
        from .sources import Batches

        view = self.source.view
        body = features.backbone(self.model)
        train, test = paths_of(self.source.train), paths_of(self.source.test)
        key = features.fingerprint(body.state_dict(), [*train, *test], f"{view.size} {view.short}")
        kept = features.kept_features(self.folder.path / FEATURES, key)
        if kept is not None:
            return kept
        compute = minicnn.compile(body)
        found = {}
        for name, dataset in (("train", self.source.train), ("test", self.source.test)):
            seen = replace(self.source, test=Subset(dataset, np.arange(len(dataset)))).test_images()
            batches = with_progress(Batches(seen, view), f"features, {name}")
            found[name] = features.collect(compute, batches)[0]
        features.keep_features(self.folder.path / FEATURES, key, found)
        return found

    def state(self) -> dict[str, Any]:
        return {**super().state(), "model": self.model.state_dict()}

    def headline(self) -> str:
        learning = sum(p.data.size for p in self.model.parameters() if p.requires_grad)
        return f"{super().headline()}; {learning:,} parameters learn"

    def pictures(self) -> None:
        """report.json of the best epoch and, with matplotlib, curves, confusion matrix and the worst mistakes."""
        from ..training import plots
        from ..training.report import class_report, confusion_matrix, worst

        classes = self.source.view.classes
        self.model.load_state_dict(self.best_state()["model"])
        logits, target = self._test_logits()
        matrix = confusion_matrix(logits.argmax(axis=1), target, len(classes))
        self.classes = class_report(matrix, classes)
        wrong, taken, sure = worst(logits, target)
        files = paths_of(self.source.test)
        listed = [
            {"image": files[i], "class": classes[target[i]], "taken_for": classes[c], "probability": float(p)}
            for i, c, p in zip(wrong, taken, sure)
        ]
        self.folder.write_json("report.json", {**self.classes, "confusion": matrix.tolist(), "worst": listed})
        if not plots.available():
            return
        title = f"{self.recipe.model} on {Path(self.recipe.data).name}"
        self.folder.write("curves.png", plots.curves(self.trainer.history, title))
        self.folder.write("confusion.png", plots.confusion(matrix, classes))
        images = [self.source.test[int(i)][0] for i in wrong]
        shown = np.stack(images) if images else np.empty((0, 1, 1, 1), np.float32)
        sheet = plots.misclassified(shown, target[wrong], taken, sure, classes, len(target))
        self.folder.write("misclassified.png", sheet)

    def _test_logits(self) -> tuple[Array, Array]:
        from .. import no_grad
        from ..training.features import collect

        self.trainer.model.eval()
        with no_grad():
            return collect(self.trainer.model, self.test_batches)

    def figures(self) -> dict[str, Any]:
        return {**super().figures(), "report": self.classes}

    def report(self, args: argparse.Namespace) -> None:
        rows = [
            (one["class"], str(one["images"]), str(one["right"]), percent(one["accuracy"]))
            for one in self.classes["classes"]
        ]
        self.say(table(("class", "images", "right", "accuracy"), rows))
        self.say(f"balanced accuracy: {percent(self.classes['balanced_accuracy'])}")
        super().report(args)
