"""trace: one forward and backward, operation by operation: what flowed, how much of it, and how long it took."""

import copy
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from .. import functional
from ..functional.door import Listener, describe, listen
from ..nn import Module
from .flops import backward_flops, forward_flops
from .subjects import same_random_numbers


@dataclass
class Statistics:
    """Of one array; mean, std and largest are over its finite values."""

    mean: float
    std: float
    largest: float  # absolute value
    zeros: float  # share of zeros
    not_finite: int  # NaN and infinities
    first_not_finite: tuple[int, ...] | None  # where the first of them is

    @classmethod
    def of(cls, array: Any) -> "Statistics":
        values = np.asarray(array)
        finite = np.isfinite(values)
        bad = int(values.size - finite.sum())
        first = tuple(map(int, np.unravel_index(int(np.argmin(finite)), values.shape))) if bad else None
        kept = values[finite].astype(np.float64)
        if not kept.size:
            return cls(0.0, 0.0, 0.0, 0.0, bad, first)
        zeros = float((kept == 0).sum()) / values.size
        return cls(float(kept.mean()), float(kept.std()), float(np.abs(kept).max()), zeros, bad, first)


@dataclass
class Step:
    """One operation. `gradient` is that of the loss by its output, None where the backward did not come through."""

    operation: str
    module: str  # path of the innermost module that ran it; "loss" for the loss
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    output_bytes: int
    flops: int
    backward_flops: int
    forward_seconds: float
    activation: Statistics
    backward_seconds: float = 0.0
    gradient: Statistics | None = None


@dataclass(frozen=True)
class Trace:
    """What `trace` heard: `steps` in the order of the forward, and the loss."""

    model: str
    loss: float
    steps: tuple[Step, ...]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def to_json(self) -> str:
        """The whole trace as JSON (numbers that are not finite as NaN and Infinity)."""
        return json.dumps(self.to_dict())

    def __str__(self) -> str:
        head = f"{'operation':<14} {'module':<24} {'output':<18} {'MFLOPs':>9} {'fwd ms':>8} {'bwd ms':>8}"
        lines = [f"{head} {'mean':>9} {'std':>9} {'zeros':>6} {'|gradient|':>10}  not finite"]
        for step in self.steps:
            shape = "×".join(map(str, step.output_shape)) or "()"
            gradient = "-" if step.gradient is None else f"{step.gradient.largest:.2e}"
            lines.append(
                f"{step.operation[:14]:<14} {step.module[-24:]:<24} {shape:<18} {step.flops / 1e6:>9.2f} "
                f"{step.forward_seconds * 1e3:>8.2f} {step.backward_seconds * 1e3:>8.2f} {step.activation.mean:>9.2e} "
                f"{step.activation.std:>9.2e} {step.activation.zeros:>6.1%} {gradient:>10}  {_not_finite(step)}"
            )
        forward, backward = (sum(getattr(s, f"{way}_seconds") for s in self.steps) for way in ("forward", "backward"))
        lines.append(
            f"{self.model}: loss {self.loss:.6g}, {sum(s.flops for s in self.steps) / 1e6:.2f} MFLOPs forward, "
            f"{forward * 1e3:.2f} ms forward, {backward * 1e3:.2f} ms backward"
        )
        return "\n".join(lines)


def trace(model: Module, x: Any, target: Any, criterion: Callable | None = None) -> Trace:
    """Run one forward, a loss and its backward, and report every operation.

    x: a batch of images; target: what the loss takes, class indices (N,) by default. criterion: a loss with a
    `backward`, by default cross-entropy. Everything runs on a copy of the model in the mode that it is in: its
    parameters, gradients, statistics and mode stay. Statistics are taken after each operation and are not in its time.
    `TypeError` for what is no Module, and whatever the model or the loss raises.

    >>> from minicnn import nn
    >>> found = trace(nn.Sequential(nn.Linear(3, 2), nn.ReLU()), np.ones((4, 3), np.float32), np.array([0, 1, 0, 1]))
    >>> [(step.operation, step.module, step.output_shape) for step in found.steps]
    [('linear', '0', (4, 2)), ('relu', '1', (4, 2)), ('cross_entropy', 'loss', ())]
    """
    if not isinstance(model, Module):
        raise TypeError(f"trace: model must be a Module, got {describe(model)}")
    twin = copy.deepcopy(model)
    recorder = _Recorder({id(module): name for name, module in twin.named_modules()})
    with same_random_numbers(), listen(recorder):
        y = twin(x)
        if criterion is None:
            loss, ctx = functional.cross_entropy(y, target)
            dy = functional.cross_entropy_backward(1.0, ctx)
        else:
            loss = criterion(y, target)
            dy = criterion.backward()  # type: ignore[attr-defined]
        twin.backward(dy)
    return Trace(type(model).__name__, float(loss), tuple(recorder.steps))


class _Recorder(Listener):
    def __init__(self, names: dict[int, str]) -> None:
        self.names, self.running = names, ["loss"]
        self.steps: list[Step] = []
        self.waiting: list[tuple[Any, Step]] = []  # forwards whose backward has not come; contexts stay alive
        self.began = 0.0

    def module_entered(self, module: Module) -> None:
        self.running.append(self.names.get(id(module), "loss"))

    def module_left(self, module: Module) -> None:
        self.running.pop()

    def entered(self, operation: str) -> None:
        self.began = time.perf_counter()

    def forward(self, operation: str, inputs: dict[str, Any], y: Any, ctx: Any) -> None:
        seconds = time.perf_counter() - self.began
        first = next(iter(inputs.values()))
        first = first[0] if isinstance(first, (list, tuple)) else first
        flops = forward_flops(operation, inputs, y)
        step = Step(
            operation, self.running[-1], np.shape(first), np.shape(y), y.nbytes, flops,
            backward_flops(operation, flops), seconds, Statistics.of(y),
        )  # fmt: skip
        self.steps.append(step)
        self.waiting.append((ctx, step))

    def backward(self, operation: str, ctx: Any, dy: Any, gradients: Any) -> None:
        seconds = time.perf_counter() - self.began
        for place in range(len(self.waiting) - 1, -1, -1):  # the last forward with this context
            if self.waiting[place][0] is ctx:
                step = self.waiting.pop(place)[1]
                step.backward_seconds, step.gradient = seconds, Statistics.of(dy)
                return


def _not_finite(step: Step) -> str:
    for name, found in (("activation", step.activation), ("gradient", step.gradient)):
        if found is not None and found.not_finite:
            return f"{found.not_finite} in the {name}, first at {found.first_not_finite}"
    return ""
