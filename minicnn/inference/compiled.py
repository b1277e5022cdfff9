"""`minicnn.compile`: a model as a fixed list of steps, for inference as fast as the machine allows."""

import copy
import threading
from typing import Any

import numpy as np

from ..backends.settings import no_grad
from ..functional import check, door
from .fold import fold
from .operators import operator_of
from .plan import Arena, Step, build
from .record import record

Array = np.ndarray


def compile(model: Any, input_shape: tuple[int, int, int, int] | None = None) -> "CompiledModel":
    """A callable that computes model.eval()(x), faster: see `CompiledModel`.

    model: any module whose forward is built from `functional` and modules. Its weights are taken as they are now: a
    later change is not noticed, compile again. Batch norm and dropout are in eval mode whatever the mode of the model,
    which is left as it was. input_shape: (N, C, H, W) of the images; other N work too. None: that of the first call.
    `TypeError` for a model that is not a Module, `ValueError` for shapes, and for a forward that computes outside
    `functional` (the message names the operation that got the unknown array).

    >>> import numpy as np, minicnn
    >>> from minicnn import nn
    >>> model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU())
    >>> predict = minicnn.compile(model, (1, 1, 5, 5))
    >>> predict(np.ones((4, 1, 5, 5), np.float32)).shape
    (4, 2, 3, 3)
    """
    if not callable(getattr(model, "named_modules", None)):
        raise TypeError(f"compile: model must be a Module, got {door.describe(model)}")
    if input_shape is not None:
        if not isinstance(input_shape, (tuple, list)) or len(input_shape) != 4:
            raise ValueError(f"compile: input_shape must be (N, C, H, W), got {door.short(input_shape)}")
        input_shape = tuple(check.integer("compile", "input_shape", size, 1) for size in input_shape)
    return CompiledModel(model, input_shape)


class CompiledModel:
    """A model as a fixed list of steps: y = compiled(x), x (N, C, H, W) of the dtype of the model's parameters.

    Batch norms are folded into the convolutions before them, biases, ReLUs and residual sums are part of the
    convolution's last step, weights are laid out for the kernels once, and results between the steps go into a few
    reused buffers. Each call returns a new array. Several threads may call at once. `print(compiled)` shows the steps.
    """

    def __init__(self, model: Any, input_shape: tuple[int, ...] | None):
        self._model = copy.deepcopy(model)  # until the first shape is known: weights as they are now
        self._dtype = next((p.data.dtype for p in self._model.parameters()), np.dtype(np.float32))
        self._input_shape = input_shape
        self._lock = threading.Lock()
        self._idle: list[Arena] = []  # one is taken for each call that runs
        self.steps: list[Step] | None = None
        if input_shape is not None:
            self._plan(input_shape)

    def _plan(self, input_shape: tuple[int, ...]) -> None:
        graph = fold(record(self._model, np.zeros(input_shape, self._dtype)))
        self._input_shape, self._output = graph.input_shape, graph.output
        self.steps, self._buffers = build(graph, operator_of)
        self._model = None  # its arrays are in the steps, in the form that the kernels want

    def __call__(self, x: Array) -> Array:
        """y for images x: (N, C, H, W) with any N. `ValueError` for another shape, `TypeError` for another dtype."""
        if not isinstance(x, np.ndarray) or x.dtype != self._dtype:
            raise TypeError(f"compiled model: x must be an array of {self._dtype}, got {door.describe(x)}")
        with self._lock:
            if self.steps is None:
                if x.ndim != 4 or x.size == 0:
                    raise ValueError(f"compiled model: x must be (N, C, H, W), not empty, got {door.short(x.shape)}")
                self._plan(x.shape)
            arena = self._idle.pop() if self._idle else Arena(self._buffers, self._dtype)
        if x.ndim != 4 or x.shape[1:] != self._input_shape[1:]:
            expected = ", ".join(map(str, self._input_shape[1:]))
            raise ValueError(f"compiled model: x must be (N, {expected}), got {door.short(x.shape)}")
        try:
            with no_grad():
                return self._run(x, arena)
        finally:
            self._idle.append(arena)

    def _run(self, x: Array, arena: Arena) -> Array:
        values = {0: x}
        for step in self.steps:
            inputs = [values[value] for value in step.node.values]
            values[step.node.output] = step.operator(inputs, arena.place(step.buffer))
            for value in step.expires:
                values.pop(value, None)
        y = values[self._output]
        return np.array(y) if y is x or not y.flags.owndata else y

    def __str__(self) -> str:
        from .show import table

        return table(self)
