"""How many threads a parallel kernel runs on, and who may start one.

Call a `@kernel(parallel=True)` as `launch(kernel, …)`. A kernel cuts its work into chunks whose size depends on the
shapes alone and adds partial sums in a fixed order, so that its result does not depend on the number of threads.
"""

import contextlib
import os
import threading
from importlib import import_module

import numba

from ..settings import get_num_threads, max_threads

# Numba fixes the size of its pool when it starts; set_num_threads then chooses any number up to it. A pool that is
# running already (another library started it) keeps its size.
with contextlib.suppress(RuntimeError):
    numba.config.NUMBA_NUM_THREADS = max(numba.config.NUMBA_NUM_THREADS, max_threads())

SPINS = "3000"


def _short_waits() -> None:
    """Load the OpenMP layer so that an idle thread of the pool spins for some microseconds, then sleeps.

    GNU OpenMP spins for about a millisecond: two processes that trained the small CNN (batch 32) at once on 2 cores
    took 34 ms a step so, 21 to 23 at 1000 spins and 17 at none. Alone a step of batch 1 takes 0.92 ms at 3000, 0.85 to
    1.01 at the default, 1.1 at 1000. The variable is read when the library loads, and taken back at once: it is not for
    other libraries or child processes. A setting of the user stands.
    """
    if "GOMP_SPINCOUNT" in os.environ or "OMP_WAIT_POLICY" in os.environ:
        return
    os.environ["GOMP_SPINCOUNT"] = SPINS
    try:
        with contextlib.suppress(ImportError):  # no OpenMP here: Numba takes another layer
            import_module("numba.np.ufunc.omppool")
    finally:
        del os.environ["GOMP_SPINCOUNT"]


_short_waits()

_local = threading.local()  # Numba's number of threads is a property of the calling thread
_one_at_a_time = None  # a lock, where the threading layer needs one
_layer_known = False


def launch(kernel, *arguments):
    """Run a parallel kernel on the chosen number of threads. 0.3 µs on top of the call."""
    threads = get_num_threads()
    if getattr(_local, "threads", 0) != threads:
        numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))
        _local.threads = threads
    if not _layer_known:
        return _first_launch(kernel, arguments)
    if _one_at_a_time is not None:
        with _one_at_a_time:
            return kernel(*arguments)
    return kernel(*arguments)


_first = threading.Lock()


def _first_launch(kernel, arguments):
    """Find out which threading layer Numba chose: "workqueue" aborts the process when two threads enter it at once."""
    global _layer_known, _one_at_a_time
    with _first:
        result = kernel(*arguments)
        if not _layer_known:
            try:
                if numba.threading_layer() == "workqueue":
                    _one_at_a_time = threading.RLock()
                _layer_known = True
            except ValueError:  # NUMBA_DISABLE_JIT, or nothing ran in parallel yet
                pass
    return result
