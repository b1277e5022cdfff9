"""minicnn: a convolutional-network engine written by hand, every kernel and every backward pass.

Importing this package loads NumPy and a few lines of settings. Everything else loads when it is first used,
Numba and the compiled kernels with the first operation that needs them.

>>> import numpy as np
>>> import minicnn
>>> y, ctx = minicnn.functional.relu(np.array([-1.0, 2.0]))
>>> minicnn.functional.relu_backward(np.array([10.0, 10.0]), ctx)
array([ 0., 10.])
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .backends import available_backends, backend, get_backend, set_backend
from .backends.settings import (
    conv_algorithm,
    get_conv_algorithm,
    get_num_threads,
    no_grad,
    set_conv_algorithm,
    set_num_threads,
)

if TYPE_CHECKING:
    from . import data, functional, inspect, models, nn, optim, training
    from .inference import compile
    from .random import manual_seed
    from .weights import UnsafeFileError, load, save

__version__ = "0.1.0"

_SUBMODULES = ("data", "functional", "inspect", "models", "nn", "optim", "training")
_LAZY = {
    "UnsafeFileError": "weights",
    "compile": "inference",
    "load": "weights",
    "manual_seed": "random",
    "save": "weights",
}

__all__ = [
    "UnsafeFileError", "available_backends", "backend", "compile", "conv_algorithm", "data", "functional",
    "get_backend", "get_conv_algorithm", "get_num_threads", "inspect", "load", "manual_seed", "models", "nn",
    "no_grad", "optim", "save", "set_backend", "set_conv_algorithm", "set_num_threads", "training",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """Load a submodule, or a function that lives in one, on first use (PEP 562)."""
    if name in _SUBMODULES:
        return import_module(f".{name}", __name__)
    if name in _LAZY:
        return getattr(import_module(f".{_LAZY[name]}", __name__), name)
    raise AttributeError(f"module 'minicnn' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_SUBMODULES, *_LAZY])
