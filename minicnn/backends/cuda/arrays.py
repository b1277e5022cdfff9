"""Arrays as the kernels want them: CuPy's on a GPU, NumPy's in the simulator.

`xp` is the module of these arrays. Memory comes from CuPy's pool: what was freed is handed out again without a call
of the driver, in the order of the stream.
"""

from functools import lru_cache
from typing import Any

import numpy as np

from .launch import SIMULATED
from .tape import RECORD, NotRecordable, current

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
    return values if SIMULATED else kept(_constant(values.tobytes(), values.dtype.str, values.shape, place()))


def varying(values: np.ndarray) -> Array:
    """The same for numbers that may be others in the next step; a recorded step reads them anew each time."""
    tape = current()
    if tape is not None:
        return tape.number(values)
    return values if SIMULATED else _recent(values.tobytes(), values.dtype.str, values.shape, place())


def place() -> tuple:
    """The device and the stream: what was copied on one stream may not have arrived yet on another."""
    return () if SIMULATED else (xp.cuda.runtime.getDevice(), xp.cuda.get_current_stream().ptr)


def kept(arrays: Any) -> Any:
    """The arrays themselves; a step that is being recorded holds them, whatever a cache forgets."""
    tape = current()
    if tape is not None and tape.mode == RECORD:
        tape.kept.append(arrays)
    return arrays


def _copied(data: bytes, dtype: str, shape: tuple[int, ...], place: tuple) -> Array:
    return xp.asarray(np.frombuffer(data, dtype).reshape(shape))


_constant = lru_cache(maxsize=1024)(_copied)
_recent = lru_cache(maxsize=8)(_copied)  # those of Adam are new in every step


def on_device(values: Any, dtype: Any = None) -> Array:
    """A NumPy array (or a list of numbers) on the GPU; an array that is there already as it is."""
    tape = current()
    if tape is not None and tape.mode == RECORD and isinstance(values, np.ndarray) and not SIMULATED:
        raise NotRecordable("an operation takes an array from main memory")
    return xp.asarray(values, dtype)
