"""The cuda backend for NumPy arrays: each call moves them to the GPU, computes there and moves the result back.

So the setting "cuda" computes anything on the GPU, tests included. In the simulator nothing moves.
"""

from functools import wraps
from typing import Any

import numpy as np

from .. import cuda
from .arrays import xp
from .launch import SIMULATED

# these change their arguments
IN_PLACE = (
    "sgd_step", "adam_step", "rmsprop_step", "add_channel_bias", "batch_norm_move", "max_pool2d_into", "mean2d_into",
)  # fmt: skip


def __getattr__(name: str) -> Any:
    function = getattr(cuda, name)
    if not SIMULATED and callable(function):
        prepared = {"prepare_conv2d": _prepared_conv2d, "prepare_linear": _prepared_linear}
        function = prepared.get(name) or _there_and_back(function, name in IN_PLACE)
    globals()[name] = function
    return function


def supports(dtype: np.dtype) -> bool:
    """float32 and float64."""
    return cuda.supports(dtype)


def _there_and_back(function, in_place):
    @wraps(function)
    def call(*args):
        moved: list[tuple[np.ndarray, Any]] = []
        result = function(*(_to_device(arg, moved) for arg in args))
        if in_place:
            for original, copy in moved:
                if original.flags.writeable:
                    original[...] = copy.get()
        return to_host(result)

    return call


def _to_device(value, moved):
    """The value with NumPy arrays, also inside lists and tuples, as CuPy's; each pair is noted in `moved`."""
    if isinstance(value, np.ndarray):
        copy = xp.asarray(value)
        moved.append((value, copy))
        return copy
    if isinstance(value, (list, tuple)):
        items = [_to_device(item, moved) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    return value


def to_host(value: Any) -> Any:
    """The value with arrays of the GPU, also inside lists and tuples, as NumPy's."""
    if isinstance(value, (list, tuple)):
        return type(value)(to_host(item) for item in value)
    return value.get() if isinstance(value, xp.ndarray) and not SIMULATED else value


def _prepared_conv2d(weight, bias, *settings, relu):
    """prepare_conv2d with its weights moved once."""
    on_gpu = cuda.prepare_conv2d(xp.asarray(weight), None if bias is None else xp.asarray(bias), *settings, relu=relu)

    def run(x, residual, out):
        residual = None if residual is None else xp.asarray(residual)
        return _written(on_gpu(xp.asarray(x), residual, _place(x.dtype)), out)

    run.algorithm = on_gpu.algorithm
    return run


def _prepared_linear(weight, bias, relu):
    """prepare_linear with its weights moved once."""
    on_gpu = cuda.prepare_linear(xp.asarray(weight), None if bias is None else xp.asarray(bias), relu=relu)
    return lambda x, out: _written(on_gpu(xp.asarray(x), _place(x.dtype)), out)


def _place(dtype):
    return lambda shape: xp.empty(shape, dtype)


def _written(y, out):
    """The array that out(shape) gives, with y of the GPU in it."""
    result = out(y.shape)
    result[...] = y.get()
    return result
