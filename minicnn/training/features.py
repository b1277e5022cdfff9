"""What a network sees in images before it names them: the inputs of its last layer.

With a frozen backbone they never change, so they are computed once and the last layer is trained on them alone.
"""

import copy
import hashlib
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .. import nn
from .checkpoint import load_checkpoint, save_checkpoint
from .finetune import last_layer

Array = np.ndarray


def backbone(model: Any) -> Any:
    """A copy of the model without its last layer: images (N, C, H, W) to features (N, F).

    >>> from minicnn import models
    >>> backbone(models.resnet18()).eval()(np.zeros((1, 3, 32, 32), np.float32)).shape
    (1, 512)
    """
    body = copy.deepcopy(model)
    setattr(body, last_layer(body), nn.Identity())
    return body


def collect(compute: Callable[[Array], Array], batches: Iterable[tuple[Array, Array]]) -> tuple[Array, Array]:
    """(compute(x) of all batches, their targets), each as one array."""
    pairs = [(compute(x), target) for x, target in batches]
    return np.concatenate([y for y, _ in pairs]), np.concatenate([target for _, target in pairs])


class Features:
    """A data set that lies in memory as rows: an item is (float32 (F,), label)."""

    def __init__(self, rows: Array, targets: Array):
        self.rows, self.targets = rows, targets

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> tuple[Array, int]:
        return self.rows[index], int(self.targets[index])

    def gather_batch(self, indices: Array) -> tuple[Array, Array]:
        return self.rows[indices], self.targets[indices]


def fingerprint(arrays: dict[str, Array], files: Sequence[str | os.PathLike], settings: str) -> str:
    """SHA-256 of weights, settings, and the names, sizes and times of files: whether kept features still hold.

    >>> fingerprint({"w": np.ones(1)}, [], "") == fingerprint({"w": np.zeros(1)}, [], "")
    False
    """
    digest = hashlib.sha256(settings.encode())
    for name, array in arrays.items():
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    for path in files:
        entry = os.stat(path)
        digest.update(f"{os.fspath(path)} {entry.st_size} {entry.st_mtime_ns}".encode(errors="surrogateescape"))
    return digest.hexdigest()


def kept_features(path: Path, key: str) -> dict[str, Array] | None:
    """What `keep_features` wrote under this key; None if there is no such file, or one of other images or weights."""
    try:
        found = load_checkpoint(path)
    except (OSError, ValueError):
        return None
    return found["features"] if found.get("key") == key else None


def keep_features(path: Path, key: str, features: dict[str, Array]) -> None:
    """Write features beside the fingerprint of what they were computed from."""
    save_checkpoint(path, {"key": key, "features": features})
