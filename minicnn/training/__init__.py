"""Training a model: the loop, its history, its checkpoints, its pictures.

trainer.py      Trainer: fit and evaluate
history.py      History: one dict an epoch, written as CSV
callbacks.py    what may listen to a training run, and the progress bar
checkpoint.py   a whole run in one file, so that it can be stopped and resumed
augment.py      random shifts and flips of a batch
plots.py        curves, misclassified images, confusion matrix (needs matplotlib)
"""

from .callbacks import Callback, Progress
from .checkpoint import load_checkpoint, save_checkpoint
from .history import History
from .trainer import Trainer
