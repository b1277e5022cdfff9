"""What a recorded step needs to be right each time it is played again: the numbers that come from the host.

A graph repeats launches with the arguments they had. Numbers that another step changes (the learning rate, the step
count of Adam, the addresses of gradients) must therefore lie in memory that the kernels read. While a tape is on,
`arrays.varying` takes such numbers from the tape, in the order in which they are asked for, which is the same in every
step.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np

RUN, RECORD, REFRESH = "run", "record", "refresh"


class NotRecordable(RuntimeError):
    """A step that a graph cannot repeat, and why."""


class Tape:
    """The numbers of one step, each in an array of its own on the GPU.

    mode: "run" computes as usual, and makes the arrays; "record" hands the same arrays out, nothing is copied from the
    host; "refresh" runs the host's part alone: new numbers are noted, launches do nothing.
    """

    def __init__(self, make: Callable[[np.ndarray], Any]) -> None:
        self.mode, self._make = RUN, make  # make(values): a new array on the GPU
        self.kept: list[Any] = []  # constants that the launches read
        self._arrays: list[Any] = []
        self._values: list[np.ndarray] = []
        self._changed: set[int] = set()
        self._next = 0

    @contextmanager
    def on(self, mode: str) -> Iterator[None]:
        """A step in this mode."""
        self.mode, self._next = mode, 0
        token = _current.set(self)
        try:
            yield
        finally:
            _current.reset(token)

    def number(self, values: np.ndarray) -> Any:
        """The array on the GPU for the next numbers."""
        at = self._next
        self._next += 1
        if at == len(self._arrays) or values.shape != self._values[at].shape or values.dtype != self._values[at].dtype:
            if self.mode != RUN:
                raise NotRecordable("the step before had other settings")
            del self._arrays[at:], self._values[at:]
            self._arrays.append(self._make(values))
            self._values.append(values)
        elif values.tobytes() != self._values[at].tobytes():
            self._values[at] = values
            self._changed.add(at)
            if self.mode == RUN:
                self.write()
        return self._arrays[at]

    def write(self) -> None:
        """Copy the numbers that have changed to the GPU, after what its stream holds."""
        for at in self._changed:
            self._arrays[at][...] = self._make(self._values[at])  # by way of CuPy's pinned memory: `set` might wait
        self._changed.clear()


_current: ContextVar[Tape | None] = ContextVar("tape", default=None)


def current() -> Tape | None:
    """The tape that is on."""
    return _current.get()
