"""Kernels and their launches.

`@kernel` marks a Python function as one; `launch(kernel, grid, block, *args)` starts it. On a GPU it is compiled on
first use for the types of its arguments, by numba-cuda to LTO-IR and by nvJitLink to machine code for this GPU, which
is kept on disk. CuPy launches it on its current stream: that does less in Python than numba-cuda's own launch, never
waits for the GPU, and can be captured in a CUDA graph. In numba-cuda's simulator a kernel runs as Python.

What a kernel may take: C-contiguous arrays, ints (int64), NumPy scalars (their own type), tuples of ints.
No fastmath: divisions and roots are rounded correctly, NaN and infinity stay what they are. Products and sums contract
to FMA.
"""

import threading
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numba
import numpy as np
from numba import cuda

from .tape import REFRESH, current

SIMULATED = bool(numba.config.ENABLE_CUDASIM)
WARP = 32  # threads that run in step

if SIMULATED:
    from numba.cuda.simulator.cudadrv.devicearray import FakeCUDAArray

    if find_spec("greenlet"):  # else numba-cuda's own way with threads, which is slow
        from . import simulator

        simulator.install()
else:
    from .compiled import Compiled

_simulator = threading.Lock()  # it runs one kernel at a time


class Kernel:
    """A function that runs once a thread of a grid. threads: the largest block it is launched with."""

    def __init__(self, body: Callable, threads: int | tuple[int, int] | None):
        self.body = body
        self.__name__, self.__doc__ = body.__name__, body.__doc__
        self.run = cuda.jit(body) if SIMULATED else Compiled(body, threads)


def kernel(body: Callable | None = None, *, threads: int | tuple[int, int] | None = None) -> Any:
    """Make a function a kernel. threads: the largest block, where the compiler must fit its registers to it, or also
    how many such blocks a multiprocessor shall hold at once."""
    if body is None:
        return lambda function: Kernel(function, threads)
    return Kernel(body, threads)


def device(body: Callable) -> Any:
    """Make a function one that kernels call. In the simulator only those that use `cuda` need to be told of it."""
    if SIMULATED:
        return cuda.jit(body, device=True) if "cuda" in body.__code__.co_names else body
    return cuda.jit(body, device=True, forceinline=True)  # a call would put arrays that live in registers in memory


def launch(kernel: Kernel, grid: int | tuple, block: int | tuple, *args: Any, shared: int = 0) -> None:
    """Run a kernel on grid × block threads (ints or tuples of up to three), after what the current stream holds.

    shared: bytes of dynamic shared memory a block. A grid of no blocks does nothing.
    """
    grid = grid if isinstance(grid, tuple) else (grid,)
    block = block if isinstance(block, tuple) else (block,)
    tape = current()
    if 0 in grid or (tape is not None and tape.mode == REFRESH):
        return
    if SIMULATED:
        _simulate(kernel, grid, block, args, shared)
    else:
        kernel.run(grid, block, args, shared)


def _simulate(kernel, grid, block, args, shared):
    """As a GPU does: arrays by reference, no warnings for what is not a number."""
    views = [FakeCUDAArray(a) if isinstance(a, np.ndarray) and a.ndim else a for a in args]
    with _simulator, warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        kernel.run[grid, block, 0, shared](*views)
