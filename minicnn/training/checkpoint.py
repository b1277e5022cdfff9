"""A checkpoint: nested dicts, lists and arrays in one .safetensors file that runs nothing when it is read.

The arrays are stored under their path ("model.fc.weight", "optimizer.state.0.momentum_buffer"), all else as JSON in
the header, where {"array": path} stands in the place of an array.
"""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from ..files import write_whole

KIND = "minicnn checkpoint 1"  # the header's mark; the number changes when the layout does


def save_checkpoint(path: str | os.PathLike, state: dict[str, Any]) -> None:
    """Write `state` whole or not at all: dicts, lists, tuples, strings, numbers, None and arrays, nested.

    `TypeError` for anything else, `OSError` if the file cannot be written.

    >>> import tempfile
    >>> file = tempfile.mkdtemp() + "/last.safetensors"
    >>> save_checkpoint(file, {"epoch": 3, "model": {"fc.weight": np.ones((2, 2))}, "betas": (0.9, 0.999)})
    >>> load_checkpoint(file)
    {'epoch': 3, 'model': {'fc.weight': array([[1., 1.],
           [1., 1.]])}, 'betas': (0.9, 0.999)}
    """
    from safetensors.numpy import save

    arrays: dict[str, np.ndarray] = {}
    text = json.dumps(_pack(state, "", arrays))
    write_whole(path, save(arrays, {"kind": KIND, "state": text}))


def is_checkpoint(path: str | os.PathLike) -> bool:
    """Whether the file is one that `save_checkpoint` wrote, rather than bare weights or anything else."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            return (file.metadata() or {}).get("kind") == KIND
    except (SafetensorError, OSError):
        return False


def load_checkpoint(path: str | os.PathLike) -> dict[str, Any]:
    """What `save_checkpoint` wrote. `OSError` if it cannot be read, `ValueError` if it is no such file, naming it."""
    from safetensors import SafetensorError, safe_open

    if not Path(path).is_file():
        raise FileNotFoundError(f"{os.fspath(path)}: no such file")
    try:
        with safe_open(path, framework="np") as file:
            header = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except SafetensorError as problem:
        raise ValueError(f"{os.fspath(path)}: not a whole .safetensors file ({problem})") from None
    if header.get("kind") != KIND:
        raise ValueError(f"{os.fspath(path)}: weights, but not a checkpoint written by minicnn train")
    try:
        return _unpack(json.loads(header["state"]), arrays)
    except (KeyError, TypeError, ValueError) as problem:
        raise ValueError(f"{os.fspath(path)}: damaged checkpoint ({problem!r})") from None


def _pack(value: Any, path: str, arrays: dict[str, np.ndarray]) -> Any:
    """JSON for `value`; its arrays go to `arrays`. What JSON has no form for becomes a dict of one reserved key."""
    if isinstance(value, np.ndarray):
        arrays[path] = np.ascontiguousarray(value).reshape(value.shape)  # safetensors takes the memory as it lies
        return {"array": path}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, dict):
        return {"dict": [[key, _pack(item, _join(path, key), arrays)] for key, item in value.items()]}
    if isinstance(value, tuple):
        return {"tuple": [_pack(item, _join(path, i), arrays) for i, item in enumerate(value)]}
    if isinstance(value, list):
        return [_pack(item, _join(path, i), arrays) for i, item in enumerate(value)]
    if value is None or isinstance(value, (str, int, float)):
        return value
    raise TypeError(f"save_checkpoint: {path} is a {type(value).__name__}, which has no form in a checkpoint")


def _unpack(value: Any, arrays: dict[str, np.ndarray]) -> Any:
    if isinstance(value, list):
        return [_unpack(item, arrays) for item in value]
    if isinstance(value, dict):
        ((kind, content),) = value.items()
        if kind == "array":
            return arrays[content]
        if kind == "tuple":
            return tuple(_unpack(item, arrays) for item in content)
        return {key: _unpack(item, arrays) for key, item in content}
    return value


def _join(path: str, part: Any) -> str:
    return f"{path}.{part}" if path else str(part)
