"""The training loop: forward, loss, backward, step."""

import math
import time
from collections.abc import Iterable, Iterator, Sequence, Sized
from contextlib import contextmanager
from typing import Any

import numpy as np

from .. import random
from ..backends.places import is_array, to_numpy
from ..backends.settings import no_grad
from ..optim.lr_scheduler import OneCycleLR, ReduceLROnPlateau
from .batches import batches_for
from .callbacks import Callback
from .graphed import GraphedStep
from .history import History

Array = np.ndarray
Loader = Iterable[tuple[Array, Array]]


class Trainer:
    """Trains a model and measures it.

    model: an `nn.Module`. criterion: a loss module with reduction "mean" or "sum". optimizer: over the parameters to
    train. scheduler: stepped after every batch if it is a `OneCycleLR`, else after every epoch; a `ReduceLROnPlateau`
    is given the epoch's val_loss (without a val_loader, its loss). callbacks: see `Callback`.

    graph: on a GPU a step becomes one launch where it can (see `GraphedStep`); a loss that is not finite is then found
    after the step that it led to.

    A loader is anything to iterate over that gives pairs (x, target), anew in every epoch. A last batch of one image
    is trained on like any other; a batch norm that then sees a single value a channel says so, as in torch
    (`drop_last=True` of the loader avoids it).

    >>> import minicnn
    >>> from minicnn import nn, optim
    >>> minicnn.manual_seed(0)
    >>> x = np.array([[-1.0], [1.0], [-2.0], [2.0]], dtype=np.float32)
    >>> batches = [(x, np.array([0, 1, 0, 1]))]
    >>> model = nn.Linear(1, 2)
    >>> trainer = Trainer(model, nn.CrossEntropyLoss(), optim.SGD(model.parameters(), lr=0.5))
    >>> history = trainer.fit(batches, epochs=20)
    >>> history[-1]["loss"] < history[0]["loss"]
    True
    >>> trainer.evaluate(batches)["accuracy"]
    1.0
    """

    def __init__(
        self,
        model: Any,
        criterion: Any,
        optimizer: Any,
        scheduler: Any = None,
        callbacks: Sequence[Callback] = (),
        *,
        graph: bool = False,
    ):
        if getattr(criterion, "reduction", "mean") not in ("mean", "sum"):
            raise ValueError(f"Trainer: criterion must have reduction mean or sum, got {criterion.reduction!r}")
        self.model, self.criterion, self.optimizer, self.scheduler = model, criterion, optimizer, scheduler
        self.callbacks = list(callbacks)
        self.graphed = GraphedStep(model, criterion, optimizer) if graph else None
        self.history = History()  # of all epochs that this trainer, or the checkpoint it was resumed from, has seen

    def fit(self, train_loader: Loader, val_loader: Loader | None = None, epochs: int = 1) -> History:
        """Train for so many epochs more and return their history; `trainer.history` has all epochs.

        Training runs in train mode (of every module in the model), validation in eval mode; afterwards each module is
        back in the mode it was in. `FloatingPointError`, with advice, if the loss stops being finite: the weights
        are then those before that step. `ValueError` for a loader without batches.
        """
        if isinstance(epochs, bool) or not isinstance(epochs, (int, np.integer)):
            raise TypeError(f"fit: epochs must be an int, got {type(epochs).__name__}")
        if epochs < 0:
            raise ValueError(f"fit: epochs must be at least 0, got {epochs}")
        with _mode(self.model, train=True):
            for _ in range(epochs):
                self._epoch(train_loader, val_loader)
        return History(self.history[len(self.history) - epochs :])

    def evaluate(self, loader: Loader) -> dict[str, float]:
        """{"loss", "accuracy", "top5"} of the model in eval mode, as means over the images.

        accuracy and top5 are fractions; with fewer than five classes top5 is 1; both are NaN where the targets are no
        classes (see `correct`). With class weights or ignored targets the loss is the mean of the batches' losses.
        """
        total = _Total(self.criterion)
        with _mode(self.model, train=False), no_grad():
            for x, target in batches_for(self.model, loader):
                y = self.model(x)
                total.add(self.criterion(y, target), y, target)
        return total.means("evaluate")

    def _epoch(self, train_loader: Loader, val_loader: Loader | None) -> None:
        """One pass over the training images, then over the held-back ones."""
        began = time.perf_counter()
        batches = len(train_loader) if isinstance(train_loader, Sized) else None
        for callback in self.callbacks:
            callback.on_epoch_begin(self, len(self.history), batches)
        total, rate = _Total(self.criterion), math.nan
        for x, target in batches_for(self.model, train_loader):
            rate = self.optimizer.param_groups[0]["lr"]
            y, loss = self._step(x, target)
            total.add(loss, y, target)
            for callback in self.callbacks:
                callback.on_batch_end(self, float(loss))
        train = total.means("fit")
        held_back = {"loss": math.nan, "accuracy": math.nan} if val_loader is None else self.evaluate(val_loader)
        record = {
            "loss": train["loss"],
            "accuracy": train["accuracy"],
            "val_loss": held_back["loss"],
            "val_accuracy": held_back["accuracy"],
            "lr": float(rate),
            "seconds": time.perf_counter() - began,
        }
        self.history.append(record)
        self._schedule_epoch(record)
        for callback in self.callbacks:
            callback.on_epoch_end(self, record)

    def _step(self, x: Array, target: Array) -> tuple[Array, Any]:
        """Forward, loss, backward, step: the whole of learning."""
        if self.graphed is not None:
            y, loss = self.graphed(x, target)
            self._check(loss)
        else:
            y = self.model(x)
            loss = self.criterion(y, target)
            self._check(loss)
            self.optimizer.zero_grad()
            self.model.backward(self.criterion.backward(), need_dx=False)
            self.optimizer.step()
        if isinstance(self.scheduler, OneCycleLR):
            self.scheduler.step()
        return y, loss

    def _check(self, loss: Any) -> None:
        """A `FloatingPointError` for a loss that is not finite."""
        if not math.isfinite(loss):
            rate = self.optimizer.param_groups[0]["lr"]
            raise FloatingPointError(
                f"fit: the loss became {float(loss)} in epoch {len(self.history) + 1} at learning rate {rate:.3g}: "
                "lower the learning rate, or look for NaN in the data"
            )

    def _schedule_epoch(self, record: dict[str, float]) -> None:
        if isinstance(self.scheduler, ReduceLROnPlateau):
            self.scheduler.step(record["loss"] if math.isnan(record["val_loss"]) else record["val_loss"])
        elif self.scheduler is not None and not isinstance(self.scheduler, OneCycleLR):
            self.scheduler.step()

    def state_dict(self) -> dict[str, Any]:
        """All that decides how the run goes on, between two epochs; `save_checkpoint` writes it.

        model, optimizer, scheduler (None if there is none), history, and the state of the one random generator, from
        which come the order of the data, augmentation and dropout unless they were given one of their own.
        """
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": None if self.scheduler is None else self.scheduler.state_dict(),
            "history": [dict(record) for record in self.history],
            "random": random.generator().bit_generator.state,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state_dict` was taken: the next `fit` gives what it would have given then, to the bit."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.scheduler is not None:
            self.scheduler.load_state_dict(state["scheduler"])
        self.history[:] = [dict(record) for record in state["history"]]
        random.generator().bit_generator.state = state["random"]


def correct(y: Array, target: Array) -> tuple[float, float, int] | None:
    """(right first, right among the first five, of how many), or None where the targets are no classes.

    y: (N, C) or (N, C, d1, …) scores. target: class indices (N) or (N, d1, …), negative ones ignored, or class
    probabilities of the shape of y.

    >>> correct(np.array([[0.1, 0.9], [0.8, 0.2]]), np.array([1, 1]))
    (1, 2, 2)
    """
    target = np.asarray(target)
    if y.ndim < 2 or y.shape[1] < 2:
        return None
    if target.shape == y.shape and target.dtype.kind == "f":
        target = target.argmax(axis=1)
    if target.dtype.kind not in "iu" or target.shape != (y.shape[0], *y.shape[2:]):
        return None
    scores = np.moveaxis(y, 1, -1).reshape(-1, y.shape[1])
    labels = target.reshape(-1)
    scores, labels = scores[labels >= 0], labels[labels >= 0]
    order = np.argsort(-scores, axis=1, kind="stable")[:, :5]  # of equal scores the first class wins, as in argmax
    hits = order == labels[:, None]
    return int(hits[:, 0].sum()), int(hits.any(axis=1).sum()), len(labels)


class _Total:
    """Sums over the batches of an epoch."""

    def __init__(self, criterion: Any):
        self.mean_of_batch = getattr(criterion, "reduction", "mean") == "mean"
        self.images, self.loss = 0, 0.0
        self.first, self.five, self.counted = 0.0, 0.0, 0

    def add(self, loss: Any, y: Array, target: Array) -> None:
        self.images += len(y)
        self.loss += float(loss) * len(y) if self.mean_of_batch else float(loss)
        found = correct(to_numpy(y), to_numpy(target) if is_array(target) else target)
        if found is not None:
            self.first, self.five, self.counted = self.first + found[0], self.five + found[1], self.counted + found[2]

    def means(self, operation: str) -> dict[str, float]:
        if self.images == 0:
            raise ValueError(f"{operation}: the loader gave no images")
        return {
            "loss": self.loss / self.images,
            "accuracy": self.first / self.counted if self.counted else math.nan,
            "top5": self.five / self.counted if self.counted else math.nan,
        }


@contextmanager
def _mode(model: Any, train: bool) -> Iterator[None]:
    """The whole model in train or eval mode inside the block; afterwards every module as it was."""
    before = [(module, module.training) for module in model.modules()]
    model.train(train)
    try:
        yield
    finally:
        for module, training in before:
            module.training = training
