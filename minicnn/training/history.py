"""What a training run reports, epoch by epoch."""

import csv
import io
import math

COLUMNS = ("loss", "accuracy", "val_loss", "val_accuracy", "lr", "seconds")


class History(list[dict[str, float]]):
    """A list of dicts, one an epoch.

    loss, accuracy: means over the training images, taken while the weights change, on augmented images if they are.
    val_loss, val_accuracy: of the held-back images after the epoch; NaN where there are none.
    lr: the learning rate of the epoch's last step. seconds: how long the epoch took, validation included.
    Accuracies are fractions.

    >>> history = History([{"loss": 0.5, "accuracy": 0.75, "val_loss": 0.4, "val_accuracy": 0.8, "lr": 0.1,
    ...                     "seconds": 2.0}])
    >>> history.best()
    0
    >>> print(history.csv().strip())
    epoch,loss,accuracy,val_loss,val_accuracy,lr,seconds
    1,0.5,0.75,0.4,0.8,0.1,2.0
    """

    def best(self) -> int:
        """The index of the best epoch: by accuracy, then by loss, of the held-back images where there are any.

        The first of equal epochs; `ValueError` if there is none.
        """
        if not self:
            raise ValueError("best: the history has no epoch")
        return max(range(len(self)), key=lambda epoch: (*_merit(self[epoch]), -epoch))

    def csv(self) -> str:
        """The history as CSV: a line of names, then a line an epoch."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(("epoch", *COLUMNS))
        for epoch, record in enumerate(self, start=1):
            writer.writerow((epoch, *(record[name] for name in COLUMNS)))
        return text.getvalue()


def _merit(record: dict[str, float]) -> tuple[float, float]:
    """(accuracy, −loss), NaN as the worst."""
    held_back = not math.isnan(record["val_loss"])
    accuracy = record["val_accuracy" if held_back else "accuracy"]
    loss = record["val_loss" if held_back else "loss"]
    return -1.0 if math.isnan(accuracy) else accuracy, -math.inf if math.isnan(loss) else -loss
