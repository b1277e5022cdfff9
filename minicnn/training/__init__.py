"""Training a model: the loop, its history, its checkpoints, its pictures.

trainer.py      Trainer: fit and evaluate
graphed.py      GraphedStep: a whole step as one launch of a GPU
history.py      History: one dict an epoch, written as CSV
callbacks.py    what may listen to a training run, and the progress bar
checkpoint.py   a whole run in one file, so that it can be stopped and resumed
augment.py      random shifts and flips of a batch
finetune.py     a new last layer for a trained network, and what of the rest stays as it is
features.py     the inputs of the last layer, computed once and kept
report.py       accuracy class by class, the confusion matrix, the worst mistakes
plots.py        curves, misclassified images, confusion matrix (needs matplotlib)
"""

from .callbacks import Callback, Progress
from .checkpoint import load_checkpoint, save_checkpoint
from .graphed import GraphedStep
from .history import History
from .trainer import Trainer
