"""CUDA graphs: a call whose launches the GPU repeats by itself, without Python between them.

A launch from Python takes some microseconds, more than most kernels of a small network run. A graph of the whole step
is one launch. What it needs:

- Fixed memory. All that the call allocates comes from a pool of its own, which nobody else uses: a kernel of the graph
  writes to the same place each time, and no other array may lie there. Within the call freed memory is used again, in
  the order of the stream, so the pool is as large as an eager step's.
- Nothing that waits for the GPU, and nothing from main memory. So the call runs for real first (`run`), on the
  stream that will be captured: kernels are compiled, tables lie on the GPU, the pool holds what the call needs.
- Numbers that change: see tape.py.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ..settings import record
from .arrays import xp
from .launch import SIMULATED
from .tape import RECORD, REFRESH, RUN, NotRecordable, Tape


def available() -> bool:
    """Whether there is a GPU; the simulator has no graphs."""
    return not SIMULATED


class Graph:
    """`run(call)` at least once, then `capture(call)`, then `replay(host_part)` as often as wanted."""

    def __init__(self) -> None:
        self.tape = Tape(xp.array)
        self._pool = xp.cuda.MemoryPool()
        self._stream = xp.cuda.Stream(non_blocking=True)
        self._graph: Any = None

    def run(self, call: Callable[[], Any]) -> Any:
        """What the call returns, computed as usual, after what the caller's stream holds and before what follows."""
        outside = xp.cuda.get_current_stream()
        self._stream.wait_event(outside.record())
        with self.tape.on(RUN), self._inside():
            result = call()
        outside.wait_event(self._stream.record())
        return result

    def capture(self, call: Callable[[], Any]) -> Any:
        """What the call returns: arrays that each `replay` fills. `NotRecordable` for a call that cannot be captured.

        Nothing is computed yet.
        """
        with self.tape.on(RECORD), record(), self._inside():
            self._stream.begin_capture()
            try:
                result = call()
            except NotRecordable:
                self._abandon()
                raise
            except Exception as problem:  # CuPy has its own kinds for what must not be captured
                self._abandon()
                raise NotRecordable(" ".join(str(problem).split())[:200]) from problem
            self._graph = self._stream.end_capture()
        return result

    def replay(self, host_part: Callable[[], None]) -> None:
        """Compute the captured call anew on the caller's stream. host_part() gives the numbers that have changed."""
        with self.tape.on(REFRESH):
            host_part()
        self.start()

    def start(self) -> None:
        """The same with the numbers that the tape holds."""
        self.tape.write()
        self._graph.launch()

    @contextmanager
    def _inside(self) -> Iterator[None]:
        with xp.cuda.using_allocator(self._pool.malloc), self._stream:
            yield

    def _abandon(self) -> None:
        """End a capture that failed; where CUDA has ended it already, it says so with an error of its own."""
        try:
            self._stream.end_capture()
        except Exception:
            return
