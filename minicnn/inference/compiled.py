"""`minicnn.compile`: a model as a fixed list of steps, for inference as fast as the machine allows."""

import copy
import threading
from time import perf_counter
from typing import Any

import numpy as np

from ..backends.settings import no_grad
from ..functional import check, door
from .fold import fold
from .operators import operator_of
from .plan import Arena, Segment, Step, segment
from .record import record
from .segments import split

Array = np.ndarray
Clock = dict[Step, float] | None  # seconds spent in each step, where somebody wants to know


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
        self._dtype = next((p.data.dtype for p in model.parameters()), np.dtype(np.float32))
        # until the first shape is known a copy: weights as they are now
        self._model = copy.deepcopy(model) if input_shape is None else model
        self._input_shape = input_shape
        self._lock = threading.Lock()
        self._idle: list[Arena] = []  # one is taken for each call that runs
        self.steps: list[Step] | None = None
        if input_shape is not None:
            self._plan(input_shape)

    def _plan(self, input_shape: tuple[int, ...]) -> None:
        graph = fold(record(self._model, np.zeros(input_shape, self._dtype)))
        self._input_shape, self._output = graph.input_shape, graph.output
        self._segments = [segment(part, operator_of) for part in split(graph)]
        self._buffers = max((each.buffers for each in self._segments), default=0)
        self.steps = [step for each in self._segments for step in each.steps]
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
            arena = self._idle.pop() if self._idle else Arena(self._buffers + 2, self._dtype)  # 2 between segments
        if x.ndim != 4 or x.shape[1:] != self._input_shape[1:]:
            expected = ", ".join(map(str, self._input_shape[1:]))
            raise ValueError(f"compiled model: x must be (N, {expected}), got {door.short(x.shape)}")
        try:
            with no_grad():
                return self._run(x, arena)
        finally:
            self._idle.append(arena)

    def _run(self, x: Array, arena: Arena, clock: Clock = None) -> Array:
        y = x
        for number, each in enumerate(self._segments, start=1):
            last = number == len(self._segments)
            y = _run_segment(each, y, arena, None if last else self._buffers + number % 2, clock)
        return np.array(y) if y is x or not y.flags.owndata else y

    def profile(self, x: Array, repeat: int = 5) -> str:
        """A table of the steps with the time each takes: the median of `repeat` runs with images x, after one more.

        ms, the floating-point operations per second (those of the direct algorithm, whatever the kernel saves), and
        the bytes of images and weights that a step reads and writes. Errors as of a call.

        >>> import numpy as np, minicnn
        >>> predict = minicnn.compile(minicnn.nn.Conv2d(1, 2, 3), (1, 1, 5, 5))
        >>> print(predict.profile(np.ones((4, 1, 5, 5), np.float32)).splitlines()[0].split())
        ['step', 'module', 'operation', 'output', 'ms', 'GFLOP/s', 'MB']
        """
        from .show import timed_table

        self(x)
        arena = Arena(self._buffers + 2, self._dtype)
        runs = []
        with no_grad():
            for _ in range(check.integer("profile", "repeat", repeat, 1)):
                spent = dict.fromkeys(self.steps, 0.0)
                self._run(x, arena, spent)
                runs.append([spent[step] for step in self.steps])
        return timed_table(self, len(x), np.median(np.array(runs).reshape(len(runs), -1), axis=0))

    def __str__(self) -> str:
        from .show import table

        return table(self)


def _run_segment(segment: Segment, x: Array, arena: Arena, buffer: int | None, clock: Clock) -> Array:
    """The steps of a segment for all images, a few at a time; the result goes into a buffer of the arena or is new."""
    images = len(x)
    at_once = images
    if segment.images is not None and images > segment.images:
        at_once = -(-images // -(-images // segment.images))  # equal shares
    if at_once == images:
        return _run_steps(segment, x, arena, arena.place(buffer), clock)
    whole = None
    for first in range(0, images, at_once):
        part = x[first : first + at_once]

        def place(shape, first=first):
            nonlocal whole
            if whole is None:
                whole = arena.place(buffer)((images, *shape[1:]))
            return whole[first : first + shape[0]]

        y = _run_steps(segment, part, arena, place, clock)
        if whole is None or not np.may_share_memory(y, whole):
            place(y.shape)[...] = y
    return whole


def _run_steps(segment: Segment, x: Array, arena: Arena, place: Any, clock: Clock) -> Array:
    values = {segment.input: x}
    for step in segment.steps:
        inputs = [values[value] for value in step.node.values]
        began = perf_counter() if clock is not None else 0.0
        values[step.node.output] = step.operator(inputs, place if step.last else arena.place(step.buffer))
        if clock is not None:
            clock[step] += perf_counter() - began
        for value in step.expires:
            values.pop(value, None)
    return values[segment.output]
