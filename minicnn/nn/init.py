"""Initialisers, as in torch.nn.init: each fills a Parameter or an array in place and returns it.

The variance of a layer's output is the variance of its input times (fan_in · variance of its weights); Xavier
(Glorot & Bengio 2010) keeps it between that and its mirror image for the backward (fan_out), Kaiming (He et al. 2015)
adds a gain for what the nonlinearity takes away: 2 for ReLU, which silences half of its inputs.

>>> import numpy as np
>>> weight = kaiming_normal_(np.empty((64, 3, 3, 3), np.float32), mode="fan_out", nonlinearity="relu")
>>> bool(abs(weight.std() - (2 / (64 * 9)) ** 0.5) < 0.01)
True
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

import numpy as np

from .. import random
from ..functional import check
from ..functional.door import describe, short
from .parameter import Parameter

Array = np.ndarray
Target = TypeVar("Target", Parameter, np.ndarray)
Rng = np.random.Generator | None


_skipping: ContextVar[bool] = ContextVar("skipping", default=False)


@contextmanager
def skip() -> Iterator[None]:
    """Inside this block initialisers leave arrays as they are: for a model whose weights are loaded right after.

    Drawing the weights of a ResNet18 takes a tenth of a second. What no weights are loaded for has any values.

    >>> from minicnn import models
    >>> with skip():
    ...     model = models.SimpleCNN()
    >>> differences = model.load_state_dict(models.SimpleCNN().state_dict())
    """
    token = _skipping.set(True)
    try:
        yield
    finally:
        _skipping.reset(token)


def uniform_(target: Target, a: float = 0.0, b: float = 1.0, rng: Rng = None) -> Target:
    """Uniform in [a, b). rng: a numpy.random.Generator; None draws from the one that `manual_seed` sets."""
    array = _array("uniform_", target)
    low, high = check.real("uniform_", "a", a), check.real("uniform_", "b", b)
    if not low <= high:
        raise ValueError(f"uniform_: a must be at most b, got a={low}, b={high}")
    if not _skipping.get():
        _draw(array, _rng("uniform_", rng).random, high - low, low)
    return target


def normal_(target: Target, mean: float = 0.0, std: float = 1.0, rng: Rng = None) -> Target:
    """Normal with this mean and standard deviation (at least 0)."""
    array = _array("normal_", target)
    mean, std = check.real("normal_", "mean", mean), check.real("normal_", "std", std)
    if not std >= 0:
        raise ValueError(f"normal_: std must be at least 0, got {std}")
    if not _skipping.get():
        _draw(array, _rng("normal_", rng).standard_normal, std, mean)
    return target


def constant_(target: Target, value: float) -> Target:
    """Every element is `value`."""
    _array("constant_", target)[...] = check.real("constant_", "value", value)
    return target


def zeros_(target: Target) -> Target:
    """Every element is 0."""
    return constant_(target, 0.0)


def ones_(target: Target) -> Target:
    """Every element is 1."""
    return constant_(target, 1.0)


def xavier_uniform_(target: Target, gain: float = 1.0, rng: Rng = None) -> Target:
    """Uniform in ±gain · √(6 / (fan_in + fan_out)) (Glorot & Bengio 2010, equation 16)."""
    fan_in, fan_out = fans("xavier_uniform_", target)
    bound = check.real("xavier_uniform_", "gain", gain) * math.sqrt(6 / max(1, fan_in + fan_out))
    return uniform_(target, -bound, bound, rng)


def xavier_normal_(target: Target, gain: float = 1.0, rng: Rng = None) -> Target:
    """Normal with std gain · √(2 / (fan_in + fan_out)) (Glorot & Bengio 2010, equation 12)."""
    fan_in, fan_out = fans("xavier_normal_", target)
    std = check.real("xavier_normal_", "gain", gain) * math.sqrt(2 / max(1, fan_in + fan_out))
    return normal_(target, 0.0, std, rng)


def kaiming_uniform_(
    target: Target, a: float = 0.0, mode: str = "fan_in", nonlinearity: str = "leaky_relu", rng: Rng = None
) -> Target:
    """Uniform in ±gain · √(3 / fan) (He et al. 2015); a: the negative slope of leaky_relu; mode: fan_in or fan_out."""
    bound = math.sqrt(3.0) * _kaiming_std("kaiming_uniform_", target, a, mode, nonlinearity)
    return uniform_(target, -bound, bound, rng)


def kaiming_normal_(
    target: Target, a: float = 0.0, mode: str = "fan_in", nonlinearity: str = "leaky_relu", rng: Rng = None
) -> Target:
    """Normal with std gain / √fan (He et al. 2015, equation 10)."""
    return normal_(target, 0.0, _kaiming_std("kaiming_normal_", target, a, mode, nonlinearity), rng)


_GAINS = {
    "linear": 1.0, "conv1d": 1.0, "conv2d": 1.0, "conv3d": 1.0, "conv_transpose1d": 1.0, "conv_transpose2d": 1.0,
    "conv_transpose3d": 1.0, "sigmoid": 1.0, "tanh": 5 / 3, "relu": math.sqrt(2.0), "selu": 3 / 4,
}  # fmt: skip


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """By how much weights must grow to make up for a nonlinearity; param: the slope of leaky_relu (0.01).

    >>> calculate_gain("tanh")
    1.6666666666666667
    """
    choice = check.choice("calculate_gain", "nonlinearity", nonlinearity, (*_GAINS, "leaky_relu"))
    if choice != "leaky_relu":
        return _GAINS[choice]
    slope = 0.01 if param is None else check.real("calculate_gain", "param", param)
    return math.sqrt(2.0 / (1 + slope**2))


def fans(operation: str, target: Any) -> tuple[int, int]:
    """(fan_in, fan_out) of a weight (out, in, taps …): connections into one output, and out of one input."""
    shape = _array(operation, target).shape
    if len(shape) < 2:
        raise ValueError(f"{operation}: target must have at least 2 dimensions (out, in, …), got shape {short(shape)}")
    taps = math.prod(shape[2:])
    return shape[1] * taps, shape[0] * taps


def _kaiming_std(operation: str, target: Any, a: float, mode: str, nonlinearity: str) -> float:
    fan_in, fan_out = fans(operation, target)
    fan = fan_in if check.choice(operation, "mode", mode, ("fan_in", "fan_out")) == "fan_in" else fan_out
    gain = calculate_gain(nonlinearity, check.real(operation, "a", a))
    return gain / math.sqrt(max(1, fan))  # a weight without elements has a fan of 0 and nothing to fill


def _array(operation: str, target: Any) -> Array:
    array = target.data if isinstance(target, Parameter) else target
    if not isinstance(array, np.ndarray) or array.dtype.kind != "f":
        raise TypeError(f"{operation}: target must be a Parameter or an array of floats, got {describe(target)}")
    if not array.flags.writeable:
        raise ValueError(f"{operation}: target must be writable, got a read-only array of shape {short(array.shape)}")
    return array


def _rng(operation: str, rng: Rng) -> np.random.Generator:
    if rng is None:
        return random.generator()
    if not isinstance(rng, np.random.Generator):
        raise TypeError(f"{operation}: rng must be a numpy.random.Generator or None, got {describe(rng)}")
    return rng


def _draw(array: Array, numbers: Any, scale: float, shift: float) -> None:
    """array = shift + scale · numbers, drawn in place where that gives the same. float32 costs half as much to draw."""
    dtype = np.float32 if array.dtype == np.float32 else np.float64
    if array.dtype == dtype and array.flags.carray:
        numbers(out=array, dtype=dtype)
        np.multiply(array, scale, out=array)
        np.add(array, shift, out=array)
    else:
        array[...] = shift + scale * numbers(array.shape, dtype)
