"""What one step of SGD does: the loss and the probabilities after steps of several sizes, each computed."""

from typing import Any

import numpy as np

from ... import functional
from ...backends.settings import no_grad
from ...nn import Module
from ...optim import SGD
from ..subjects import same_random_numbers

Array = np.ndarray

SIZES = (1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0)


def sgd_steps(twin: Module, x: Array, target: Array) -> dict[str, Any]:
    """{"sizes", "losses", "probabilities"}: p ← p − size · p.grad from the same start each time, then a forward.

    twin: a model whose parameters hold their gradients; parameters and buffers are put back at the end.
    """
    parameters = [parameter for parameter in twin.parameters() if parameter.grad is not None]
    moved = [parameter.data for parameter in parameters] + [buffer for _, buffer in twin.named_buffers()]
    start = [array.copy() for array in moved]
    losses, probabilities = [], []
    for size in (0.0, *SIZES):
        if size and parameters:
            SGD(parameters, lr=size).step()
        with no_grad(), same_random_numbers():
            logits = twin(x)
            losses.append(float(functional.cross_entropy(logits, target)[0]))
            probabilities.append(functional.softmax(logits)[0][0])
        for array, before in zip(moved, start):
            array[...] = before
    return {"sizes": [0.0, *SIZES], "losses": losses, "probabilities": np.stack(probabilities)}
