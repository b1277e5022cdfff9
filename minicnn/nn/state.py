"""state_dict and load_state_dict: parameters and buffers by name, under the keys that torch gives them."""

import os
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from ..backends.places import beside, is_array, to_numpy, writable
from ..functional.door import describe, short
from .parameter import Parameter

Array = np.ndarray


class Differences(NamedTuple):
    """What a state dict did not have, and what it had too much."""

    missing_keys: list[str]
    unexpected_keys: list[str]


def entries(module: Any, prefix: str = "") -> dict[str, Array]:
    """The arrays themselves by name: parameters, then buffers, then the modules below. Shared ones under each name."""
    found = {prefix + name: p.data for name, p in module._parameters.items() if p is not None}
    found |= {prefix + name: array for name, array in module._buffers.items() if array is not None}
    for name, child in module._modules.items():
        if child is not None:
            found |= entries(child, f"{prefix}{name}.")
    return found


def load(module: Any, source: Any, strict: bool) -> Differences:
    """See Module.load_state_dict: everything is checked and converted before the first array changes."""
    given, own = _read(source), entries(module)
    missing = [name for name in own if name not in given and name.rpartition(".")[2] != "num_batches_tracked"]
    unexpected = [name for name in given if name not in own]
    both = {name: _as_array(name, given[name]) for name in own if name in given}
    other_shape = [
        f"{name} {short(array.shape)} instead of {short(own[name].shape)}"
        for name, array in both.items()
        if array.shape != own[name].shape
    ]
    if other_shape or (strict and (missing or unexpected)):
        problems = [_listed("of another shape", other_shape)]
        if strict:
            problems += [_listed("missing", missing), _listed("unexpected", [str(name) for name in unexpected])]
        what = "; ".join(filter(None, problems))
        raise ValueError(f"load_state_dict: the state does not fit {type(module).__name__[:40]}: {what}")
    with np.errstate(over="ignore", invalid="ignore"):  # too large for float32: infinity, as in torch
        fresh = given is not source  # read from a file: nobody else holds these arrays
        converted = {name: array.astype(own[name].dtype, copy=not fresh) for name, array in both.items()}
    for name, array in converted.items():
        _put(module, name, array)
    return Differences(missing, unexpected)


def _put(module: Any, name: str, array: Array) -> None:
    """Copy into the parameter or buffer of that name, so that whoever holds its array sees the new values."""
    *path, last = name.split(".")
    for step in path:
        module = module._modules[step]
    is_parameter = last in module._parameters
    old = module._parameters[last].data if is_parameter else module._buffers[last]
    array = beside(array, old)
    if writable(old):
        old[...] = array
    elif is_parameter:
        module._parameters[last].data = array
    else:
        setattr(module, last, array)


def _read(source: Any) -> Mapping:
    """The state dict itself, or what is in the file of that name."""
    if isinstance(source, (str, os.PathLike)):
        from ..weights import load as load_file  # only a path needs the file formats

        content = load_file(source)
        if not isinstance(content, Mapping):
            raise ValueError(f"load_state_dict: {short(str(source))} must hold a state dict, got {describe(content)}")
        return content
    if not isinstance(source, Mapping):
        raise TypeError(f"load_state_dict: state must be a dict or a path, got {describe(source)}")
    return source


def _as_array(name: str, value: Any) -> Array:
    """A real array, or a list of numbers as one."""
    try:
        array = np.asarray(_in_memory(value.data if isinstance(value, Parameter) else value))
    except ValueError:  # lists of unequal lengths
        array = np.asarray(None)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"load_state_dict: {short(name)} must be an array of numbers, got {describe(value)}")
    return array


def _in_memory(value: Any) -> Any:
    return to_numpy(value) if is_array(value) else value


def _listed(what: str, names: Iterable[str]) -> str:
    """'missing: a, b and 7 more', cut to about 100 characters; '' for none."""
    names = list(names)
    shown: list[str] = []
    for name in names:
        shown.append(name if len(name) <= 90 else name[:87] + "...")
        if sum(map(len, shown)) > 100:
            shown = shown[:-1] or shown
            break
    rest = f" and {len(names) - len(shown)} more" if len(shown) < len(names) else ""
    return f"{what}: {', '.join(shown)}{rest}" if names else ""
