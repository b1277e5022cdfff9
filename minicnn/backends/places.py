"""Where arrays lie, in main memory (NumPy) or on a GPU (CuPy), and how they get from one to the other.

CuPy is looked for only once an array of it has come, or somebody asks for the GPU.
"""

import sys
from typing import Any

import numpy as np

from . import simulates_cuda

Array = Any


def library(array: Array) -> Any:
    """The module of this array: numpy, or cupy for one on the GPU."""
    return np if isinstance(array, (np.ndarray, np.generic)) else sys.modules["cupy"]


def is_array(value: Any) -> bool:
    """A NumPy or CuPy array."""
    return isinstance(value, np.ndarray) or type(value).__module__.partition(".")[0] == "cupy"


def to_numpy(array: Array) -> np.ndarray:
    """The array itself if it is NumPy's, else a copy of it in main memory (this waits for the GPU)."""
    return array if library(array) is np else array.get()


def moved(array: Array, backend: str) -> Array:
    """The array where this backend computes: itself if it is there, else a copy."""
    if backend != "cuda":
        return to_numpy(array)
    if simulates_cuda():  # the simulator's memory is ours
        return array
    import cupy

    return cupy.asarray(array)


def beside(array: Array, other: Array) -> Array:
    """The array where `other` lies."""
    return to_numpy(array) if isinstance(other, np.ndarray) else library(other).asarray(array)


def writable(array: Array) -> bool:
    """Whether it may be changed; on the GPU every array may."""
    return getattr(array.flags, "writeable", True)


def c_order(array: Array) -> Array:
    """The array in C order and of the plain type; itself where it is that."""
    if isinstance(array, np.ndarray):
        return np.asarray(array, order="C")
    return array if array.flags.c_contiguous else array.copy(order="C")


def copy_of(array: Array) -> Array:
    """A copy in C order, of the plain type."""
    return np.array(array, order="C", subok=False) if isinstance(array, np.ndarray) else array.copy(order="C")
