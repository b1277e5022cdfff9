"""Who may listen to a training run."""

import sys
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from .trainer import Trainer


class Callback:
    """What a Trainer tells its callbacks, in the order in which they were given. Override what you need.

    An exception raised in a callback ends the run.
    """

    def on_epoch_begin(self, trainer: "Trainer", epoch: int, batches: int | None) -> None:
        """Before an epoch, counted from 0 over the trainer's life. batches: None if the loader has no len."""

    def on_batch_end(self, trainer: "Trainer", loss: float) -> None:
        """After a step of the optimiser, with the loss of its batch."""

    def on_epoch_end(self, trainer: "Trainer", record: dict[str, float]) -> None:
        """After an epoch: `record` is the last entry of `trainer.history`. The scheduler has been stepped."""


class Progress(Callback):
    """A progress bar on a terminal, and one plain line an epoch on any output.

    epochs: how many there will be, for the display. lines: where the lines go (standard output). The bar goes to
    standard error, and only if that is a terminal.
    """

    def __init__(self, epochs: int, lines: TextIO | None = None):
        self.epochs, self.lines = epochs, lines
        self._bar = None

    def on_epoch_begin(self, trainer: "Trainer", epoch: int, batches: int | None) -> None:
        if sys.stderr is not None and sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(
                total=batches, desc=f"epoch {epoch + 1}/{self.epochs}", unit="batch", leave=False, dynamic_ncols=True
            )

    def on_batch_end(self, trainer: "Trainer", loss: float) -> None:
        if self._bar is not None:
            self._bar.set_postfix(loss=f"{loss:.4f}", refresh=False)
            self._bar.update()

    def on_epoch_end(self, trainer: "Trainer", record: dict[str, float]) -> None:
        self.close()
        print(line(len(trainer.history), self.epochs, record), file=self.lines or sys.stdout, flush=True)

    def close(self) -> None:
        """Take the bar away, also when a run ends in the middle of an epoch."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def line(epoch: int, epochs: int, record: dict[str, float]) -> str:
    """One epoch in words.

    >>> line(3, 10, {"loss": 0.25, "accuracy": 0.925, "val_loss": 0.2, "val_accuracy": 0.95, "lr": 0.05, "seconds": 1})
    'epoch  3/10  train loss 0.2500 accuracy 92.50 %  test loss 0.2000 accuracy 95.00 %  lr 0.05  1.0 s'
    """
    test = ""
    if record["val_loss"] == record["val_loss"]:
        test = f"  test loss {record['val_loss']:.4f} accuracy {record['val_accuracy']:.2%}"
    text = (
        f"epoch {epoch:{len(str(epochs))}}/{epochs}  train loss {record['loss']:.4f} accuracy {record['accuracy']:.2%}"
        f"{test}  lr {record['lr']:.2g}  {record['seconds']:.1f} s"
    )
    return text.replace("%", " %")
