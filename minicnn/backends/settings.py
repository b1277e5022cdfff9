"""What a user may set: backend, convolution algorithm, number of threads, and whether contexts are kept.

A `set_…` holds for the whole process. A `with` block overrides it for the code inside, in the same thread only
(a ContextVar), so that two threads may compute with different settings at once.
"""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from functools import cache
from pathlib import Path

CONV_ALGORITHMS = ("auto", "im2col", "direct", "winograd")
BACKENDS = ("reference", "cpu", "cuda")


class Choice:
    """One setting with a fixed list of values."""

    def __init__(self, name: str, values: tuple[str, ...], default: str):
        self.name, self.values, self.default = name, values, default
        self._override: ContextVar[str | None] = ContextVar(name, default=None)

    def get(self) -> str:
        return self._override.get() or self.default

    def set(self, value: str) -> None:
        self.default = self.checked(value)

    def override(self, value: str) -> AbstractContextManager[None]:
        return self.stand_in(self.checked(value))

    @contextmanager
    def stand_in(self, value: str) -> Iterator[None]:
        """As override, with a value that users may not choose."""
        token = self._override.set(value)
        try:
            yield
        finally:
            self._override.reset(token)

    def checked(self, value: str) -> str:
        if not isinstance(value, str):
            raise TypeError(f"{self.name} must be a string, got {type(value).__name__}")
        if value not in self.values:
            raise ValueError(f"{self.name} must be one of {', '.join(self.values)}; got {value[:80]!r}")
        return value


_conv_algorithm = Choice("conv_algorithm", CONV_ALGORITHMS, "auto")
backend_choice = Choice("backend", BACKENDS, "cpu")
_keeping: ContextVar[bool] = ContextVar("keeping", default=True)
_recording: ContextVar[bool] = ContextVar("recording", default=False)
_num_threads: int | None = None


def set_conv_algorithm(name: str) -> None:
    """Choose how convolutions are computed: "auto" (the default), "im2col", "direct" or "winograd"."""
    _conv_algorithm.set(name)


def get_conv_algorithm() -> str:
    """The algorithm that convolutions use now."""
    return _conv_algorithm.get()


def conv_algorithm(name: str):
    """A context manager: `with conv_algorithm("im2col"): …`."""
    return _conv_algorithm.override(name)


@contextmanager
def no_grad() -> Iterator[None]:
    """Inside this block operations return `(y, None)` and modules keep no context: for evaluation.

    >>> import numpy as np, minicnn
    >>> with minicnn.no_grad():
    ...     y, ctx = minicnn.functional.relu(np.ones(2))
    >>> ctx is None
    True
    """
    token = _keeping.set(False)
    try:
        yield
    finally:
        _keeping.reset(token)


def keeps_contexts() -> bool:
    """False inside `no_grad()`."""
    return _keeping.get()


@contextmanager
def record() -> Iterator[None]:
    """Inside this block the launches of a GPU are recorded for a graph: nothing may wait for their results."""
    token = _recording.set(True)
    try:
        yield
    finally:
        _recording.reset(token)


def recording() -> bool:
    """True inside `record()`."""
    return _recording.get()


def set_num_threads(n: int) -> None:
    """Compute on n threads, 1 to the machine's cores. Results are the same to the bit whatever n is."""
    global _num_threads
    if isinstance(n, bool) or not hasattr(n, "__index__"):
        raise TypeError(f"set_num_threads: n must be an int, got {type(n).__name__}")
    most = max_threads()
    if not 1 <= n <= most:
        raise ValueError(f"set_num_threads: n must be 1 to {most} (the cores of this machine), got {n}")
    _num_threads = int(n)


def get_num_threads() -> int:
    """The number of threads that kernels run on."""
    return default_threads() if _num_threads is None else _num_threads


@cache
def max_threads() -> int:
    return os.cpu_count() or 1


@cache
def default_threads() -> int:
    """The cores this process may use: its affinity mask, cut to the quota of its control group."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else max_threads()
    return max(1, min(cores, _cgroup_quota(), max_threads()))


def _cgroup_quota() -> int:
    """Whole cores that a container may use (cgroup v2, then v1), or a large number when there is no limit."""
    unlimited = 1 << 30
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return unlimited if quota == "max" else -(-int(quota) // int(period))
    except (OSError, ValueError):
        pass
    try:
        limit = int(Path("/sys/fs/cgroup/cpu/cpu.cfs_quota_us").read_text())
        every = int(Path("/sys/fs/cgroup/cpu/cpu.cfs_period_us").read_text())
        return unlimited if limit <= 0 else -(-limit // every)
    except (OSError, ValueError):
        return unlimited
