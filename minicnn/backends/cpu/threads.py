"""How many threads a parallel kernel runs on, and who may start one.

Call a `@kernel(parallel=True)` as `launch(kernel, …)`. A kernel cuts its sums into chunks whose size depends on the
shapes alone and adds partial sums in a fixed order, so that its result does not depend on the number of threads.

Kernels run on the OpenMP pool of Numba's module omppool, which needs nothing else of Numba. Where there is none, or
the user names another layer, Numba chooses.
"""

import contextlib
import os
import threading

from ..settings import get_num_threads, max_threads
from .extensions import extension

SPINS = "3000"


class _Local(threading.local):
    """The number of threads is a property of the calling thread."""

    threads = 0


_local = _Local()
_set_threads = None  # set_threads(n) for the calling thread
_one_at_a_time = None  # a lock, where the threading layer needs one
_layer_known = False


def launch(kernel, *arguments):
    """Run a parallel kernel on the chosen number of threads. 0.3 µs on top of the call."""
    threads = get_num_threads()
    if _local.threads != threads:
        _set_threads(threads)
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
    import numba

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


def openmp():
    """Numba's OpenMP pool, whose idle threads spin for some microseconds, then sleep. None: not to be had, or wanted.

    GNU OpenMP spins for about a millisecond: two processes that trained the small CNN (batch 32) at once on 2 cores
    took 34 ms a step so, 21 to 23 at 1000 spins and 17 at none. Alone a step of batch 1 takes 0.92 ms at 3000, 0.85 to
    1.01 at the default, 1.1 at 1000. The variable is read when the library loads, and taken back at once: it is not for
    other libraries or child processes. A setting of the user stands.
    """
    if "NUMBA_THREADING_LAYER" in os.environ or "NUMBA_THREADING_LAYER_PRIORITY" in os.environ:
        return None
    quiet = "GOMP_SPINCOUNT" not in os.environ and "OMP_WAIT_POLICY" not in os.environ
    if quiet:
        os.environ["GOMP_SPINCOUNT"] = SPINS
    try:
        return extension("numba.np.ufunc.omppool")
    except ImportError:
        return None
    finally:
        if quiet:
            del os.environ["GOMP_SPINCOUNT"]


def pool_runs(pool) -> None:
    """Kernels run on this OpenMP pool, without Numba."""
    import ctypes

    global _layer_known
    with _first:
        if _set_threads is None:
            ctypes.CFUNCTYPE(None, ctypes.c_int)(pool.launch_threads)(_pool_size())
            _use(ctypes.CFUNCTYPE(None, ctypes.c_int)(pool.set_num_threads))
            _layer_known = True


def numba_runs() -> None:
    """Kernels are Numba's from now on. It starts the pool, or takes over the one that runs."""
    import numba

    global _layer_known
    # Numba fixes the size of its pool when it starts; set_num_threads then chooses any number up to it. A pool that is
    # running already (another library started it) keeps its size.
    with contextlib.suppress(RuntimeError):
        numba.config.NUMBA_NUM_THREADS = _pool_size()
    if openmp() is not None:
        numba.config.THREADING_LAYER = "omp"
    with _first:
        _layer_known = False
        _use(lambda n: numba.set_num_threads(min(n, numba.config.NUMBA_NUM_THREADS)))


def _pool_size() -> int:
    return max(int(os.environ.get("NUMBA_NUM_THREADS") or 1), max_threads())


def _use(set_threads) -> None:
    """Every thread says its number anew: Numba sets one of its own when it starts."""
    global _set_threads, _local
    _set_threads, _local = set_threads, _Local()
