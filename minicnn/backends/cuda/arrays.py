"""Arrays as the kernels want them: CuPy's on a GPU, NumPy's in the simulator.

`xp` is the module of these arrays. Memory comes from CuPy's pool: what was freed is handed out again without a call
of the driver, in the order of the stream.
"""

from functools import lru_cache
from typing import Any

import numpy as np

from .launch import SIMULATED

if SIMULATED:
    xp: Any = np
else:
    import cupy as xp  # type: ignore[no-redef]

Array = Any
ALIGNMENT = 16  # bytes: four float32 are loaded at once
VECTOR = 4  # elements a thread of a flat loop takes
BLOCK = 32 if SIMULATED else 256  # threads a block of a flat loop: the simulator starts a Python thread for each


def canonical(x: Array) -> Array:
    """x itself if it is C-contiguous and begins at a multiple of 16 bytes, else such a copy."""
    if x.flags.c_contiguous and (SIMULATED or x.data.ptr % ALIGNMENT == 0):
        return x
    return xp.array(x, order="C")


def flat(x: Array) -> Array:
    """x as `canonical` gives it, with one axis."""
    return canonical(x).reshape(-1)


def blocks(size: int, per_block: int) -> int:
    """How many blocks of so many elements cover them all."""
    return -(-size // per_block)


def empty(shape: tuple[int, ...], dtype: Any) -> Array:
    return xp.empty(shape, dtype)


def zeros(shape: tuple[int, ...], dtype: Any) -> Array:
    return xp.zeros(shape, dtype)


def constant(values: np.ndarray) -> Array:
    """A small array on the GPU, never to be written to, kept for the next call with the same numbers.

    Settings and tables are the same in every step: copying each of them anew would cost more than their kernels.
    """
    if SIMULATED:
        return values
    place = xp.cuda.runtime.getDevice(), xp.cuda.get_current_stream().ptr  # on another stream it may not have arrived
    return _constant(values.tobytes(), values.dtype.str, values.shape, place)


@lru_cache(maxsize=1024)
def _constant(data: bytes, dtype: str, shape: tuple[int, ...], place: tuple) -> Array:
    return xp.asarray(np.frombuffer(data, dtype).reshape(shape))


def on_device(values: Any, dtype: Any = None) -> Array:
    """A NumPy array (or a list of numbers) on the GPU; an array that is there already as it is."""
    return xp.asarray(values, dtype)
