"""trace: one forward and backward, operation by operation: what flowed, how much of it, and how long it took."""

import copy
import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from .. import functional
from ..functional import check
from ..functional.door import describe, listen
from ..nn import Module
from .flops import backward_flops, forward_bytes, forward_flops
from .recorder import Recorder, backward_arrays, forward_arrays
from .statistics import Statistics
from .subjects import same_random_numbers

Array = np.ndarray


@dataclass
class Step:
    """One operation. `gradient` is that of the loss by its output, None where the backward did not come through."""

    operation: str
    module: str  # path of the innermost module that ran it; "loss" for the loss
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    output_bytes: int
    bytes: int  # of all arrays that the forward reads or writes, each once
    flops: int
    backward_flops: int
    forward_seconds: float
    activation: Statistics
    backward_seconds: float = 0.0
    gradient: Statistics | None = None
    parameters: dict[str, Statistics] = field(default_factory=dict)  # of dweight and dbias, by "weight" and "bias"
    arrays: dict[str, Array] = field(default_factory=dict, repr=False)  # by argument, y and d<name>; empty unless asked

    def to_dict(self) -> dict[str, Any]:
        """All but the arrays, as JSON can say it."""
        return {entry.name: _plain(getattr(self, entry.name)) for entry in fields(self) if entry.name != "arrays"}


@dataclass(frozen=True)
class Trace:
    """What `trace` heard: `steps` in the order of the forward, and the loss. `print` shows it as a table."""

    model: str
    loss: float
    steps: tuple[Step, ...]

    def to_dict(self) -> dict[str, Any]:
        return {"model": self.model, "loss": _plain(self.loss), "steps": [step.to_dict() for step in self.steps]}

    def to_json(self) -> str:
        """The whole trace without its arrays as JSON; a loss that is not finite becomes null."""
        return json.dumps(self.to_dict(), allow_nan=False)

    def plot(self, path: Any = None) -> Any:
        """The flow of gradients as a matplotlib `Figure`: activations, gradients and weight gradients over the depth.

        Each point is the standard deviation of one array, on a logarithmic scale: lines that fall to the left are
        gradients that vanish. path: a file to write it to as well, as PNG, whole or not at all.
        `ModuleNotFoundError` without matplotlib (pip install 'minicnn[plots]').
        """
        from .flow import draw

        return draw(self, path)

    def __str__(self) -> str:
        from .table import table

        return table(self)


def trace(model: Module, x: Any, target: Any, criterion: Callable | None = None, *, arrays: bool = False) -> Trace:
    """Run one forward, a loss and its backward, and report every operation.

    x: a batch of images; target: what the loss takes, class indices (N,) by default. criterion: a loss with a
    `backward`, by default cross-entropy. arrays: keep the arrays themselves in each step's `arrays`, by name: the
    arguments, y, dy and the gradients (dx, dweight, …). They are those of the run, not copies.

    Everything runs on copies of the model in the mode that it is in: its parameters, gradients, statistics and mode
    stay. A pass that is not timed goes first, so that times hold no compilation; statistics are taken after each
    operation and are not in its time.
    `TypeError` for what is no Module or no criterion, and whatever the model or the loss raises.

    >>> from minicnn import nn
    >>> model = nn.Sequential(nn.Linear(3, 2), nn.ReLU())
    >>> found = trace(model, np.ones((4, 3), np.float32), np.array([0, 1, 0, 1]), arrays=True)
    >>> [(step.operation, step.module, step.output_shape) for step in found.steps]
    [('linear', '0', (4, 2)), ('relu', '1', (4, 2)), ('cross_entropy', 'loss', ())]
    >>> sorted(found.steps[0].arrays)
    ['bias', 'dbias', 'dweight', 'dx', 'dy', 'weight', 'x', 'y']
    """
    if not isinstance(model, Module):
        raise TypeError(f"trace: model must be a Module, got {describe(model)}")
    if criterion is not None and not (callable(criterion) and hasattr(criterion, "backward")):
        raise TypeError(f"trace: criterion must be a loss with a backward, got {describe(criterion)}")
    arrays = check.flag("trace", "arrays", arrays)
    with same_random_numbers():
        _run(copy.deepcopy(model), x, target, criterion)
    twin = copy.deepcopy(model)
    listener = _Tracer(twin, arrays)
    with same_random_numbers(), listen(listener):
        loss = _run(twin, x, target, criterion)
    return Trace(type(model).__name__, loss, tuple(listener.steps))


def _run(model: Module, x: Any, target: Any, criterion: Any) -> float:
    y = model(x)
    if criterion is None:
        loss, ctx = functional.cross_entropy(y, target)
        dy = functional.cross_entropy_backward(1.0, ctx)
    else:
        loss = criterion(y, target)
        dy = criterion.backward()
    model.backward(dy)
    return float(loss)


class _Tracer(Recorder):
    def __init__(self, model: Module, keep: bool) -> None:
        super().__init__(model)
        self.keep = keep
        self.steps: list[Step] = []

    def opened(self, operation: str, inputs: dict[str, Any], y: Any, ctx: Any, seconds: float) -> Any:
        first = next(iter(inputs.values()))
        first = first[0] if isinstance(first, (list, tuple)) else first
        flops = forward_flops(operation, inputs, y)
        step = Step(
            operation, self.running[0], np.shape(first), np.shape(y), y.nbytes, forward_bytes(inputs, y), flops,
            backward_flops(operation, flops), seconds, Statistics.of(y),
        )  # fmt: skip
        if self.keep:
            step.arrays = forward_arrays(operation, inputs, y, ctx)
        self.steps.append(step)
        return step, inputs

    def closed(self, record: Any, dy: Any, gradients: Any, seconds: float) -> None:
        step, inputs = record
        found = backward_arrays(step.operation, inputs, dy, gradients)
        step.backward_seconds, step.gradient = seconds, Statistics.of(dy)
        step.parameters = {name: Statistics.of(found[f"d{name}"]) for name in ("weight", "bias") if f"d{name}" in found}
        if self.keep:
            step.arrays |= found


def _plain(value: Any) -> Any:
    if isinstance(value, Statistics):
        return {entry.name: getattr(value, entry.name) for entry in fields(value)}
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
