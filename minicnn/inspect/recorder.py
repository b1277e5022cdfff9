"""Hearing one forward and backward: the module that runs, the arrays by name, and which backward is whose."""

import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..functional.door import Listener
from ..nn import Module

Array = np.ndarray

# arguments that are settings or buffers although they are arrays
NOT_FLOWING = ("weight", "bias", "running_mean", "running_var", "target")


class Recorder(Listener):
    """Pairs each backward with its forward. Say in `opened` what to keep of a forward, in `closed` of its backward."""

    def __init__(self, model: Module) -> None:
        self.modules = {id(module): (name, type(module).__name__) for name, module in model.named_modules()}
        self._running = [("loss", "CrossEntropyLoss")]
        self._waiting: list[tuple[Any, Any]] = []  # (context, record) of forwards whose backward has not come
        self._began = 0.0

    def opened(self, operation: str, inputs: dict[str, Any], y: Any, ctx: Any, seconds: float) -> Any:
        """The record of a forward."""
        raise NotImplementedError

    def closed(self, record: Any, dy: Any, gradients: Any, seconds: float) -> None:
        """Add the backward to the record of its forward."""
        raise NotImplementedError

    @property
    def running(self) -> tuple[str, str]:
        """Path and class of the innermost module that runs; ("loss", …) outside of the model."""
        return self._running[-1]

    def module_entered(self, module: Module) -> None:
        self._running.append(self.modules.get(id(module), ("loss", type(module).__name__)))

    def module_left(self, module: Module) -> None:
        self._running.pop()

    def entered(self, operation: str) -> None:
        self._began = time.perf_counter()

    def forward(self, operation: str, inputs: dict[str, Any], y: Any, ctx: Any) -> None:
        seconds = time.perf_counter() - self._began
        self._waiting.append((ctx, self.opened(operation, inputs, y, ctx, seconds)))

    def backward(self, operation: str, ctx: Any, dy: Any, gradients: Any) -> None:
        seconds = time.perf_counter() - self._began
        for place in range(len(self._waiting) - 1, -1, -1):  # the last forward with this context
            if self._waiting[place][0] is ctx:
                self.closed(self._waiting.pop(place)[1], dy, gradients, seconds)
                return


def flowing(inputs: dict[str, Any]) -> Iterator[tuple[str, Array]]:
    """The arrays that come from other operations, by argument; the members of a list as a, b, c, …

    >>> [name for name, _ in flowing({"arrays": [np.zeros(1), np.ones(1)], "axis": 1})]
    ['a', 'b']
    """
    for name, value in inputs.items():
        if isinstance(value, (list, tuple)) and is_arrays(value):
            yield from ((chr(ord("a") + place), each) for place, each in enumerate(value))
        elif isinstance(value, np.ndarray) and name not in NOT_FLOWING:
            yield name, value


def forward_arrays(operation: str, inputs: dict[str, Any], y: Any, ctx: Any) -> dict[str, Array]:
    """Every array of a forward by name: its arguments, y, and what only the context has."""
    arrays = {name: value for name, value in inputs.items() if isinstance(value, np.ndarray)}
    arrays |= dict(flowing(inputs)) | {"y": np.asarray(y)}
    if operation == "max_pool2d":
        arrays["indices"] = ctx.indices
    if operation == "batch_norm":
        arrays |= {"mean": ctx.mean, "var": ctx.var}
    if operation == "dropout" and ctx.keep is not None:
        arrays["keep"] = ctx.keep
    if operation == "interpolate":
        for side in ("rows", "columns"):
            sources = getattr(ctx, side)
            named = {"": sources} if ctx.mode == "nearest" else sources._asdict()
            arrays |= {f"{side}_{name}".rstrip("_"): array for name, array in named.items()}
    return arrays


def backward_arrays(operation: str, inputs: dict[str, Any], dy: Any, gradients: Any) -> dict[str, Array]:
    """Every array of a backward by name: dy, and the gradient of each argument that has one as d<name>."""
    found = gradients if isinstance(gradients, tuple) else (gradients,)
    if operation in ("conv2d", "conv_transpose2d", "linear", "batch_norm"):
        names = ["x", "weight", "bias"]
    else:
        names = [name for name, _ in flowing(inputs)]
    arrays = {f"d{name}": gradient for name, gradient in zip(names, found) if gradient is not None}
    return {"dy": np.asarray(dy), **arrays}


def is_arrays(value: Any) -> bool:
    """Whether this is an array, or a list of nothing else."""
    if isinstance(value, (list, tuple)):
        return bool(value) and all(isinstance(each, np.ndarray) for each in value)
    return isinstance(value, np.ndarray)
