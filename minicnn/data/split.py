"""Parts of a data set: a held-back share of each class, and a view of chosen items."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from . import check

Array = np.ndarray


def stratified_split(targets: Array, fraction: float = 0.2, seed: int | None = None) -> tuple[Array, Array]:
    """Indices of (the rest, the held-back items), both ascending, with the same share of each class held back.

    targets: (N,) class indices. fraction: 0 < fraction < 1; of n items of a class fraction · n are held back, rounded.
    seed: None takes them evenly from the order of the data, for a fifth the 3rd, 8th, 13th … of each class; an int ≥ 0
    chooses at random. Fixed for a given order and seed.

    >>> stratified_split(np.array([0, 0, 0, 1, 1, 1]), 1 / 3)
    (array([0, 2, 3, 5]), array([1, 4]))
    """
    fraction = check.real("stratified_split", "fraction", fraction)
    if not 0 < fraction < 1:
        raise ValueError(f"stratified_split: fraction must be between 0 and 1, got {fraction}")
    rng = None if seed is None else np.random.default_rng(check.integer("stratified_split", "seed", seed, 0))
    targets = np.asarray(targets)
    held = np.zeros(len(targets), dtype=bool)
    for label in np.unique(targets):
        members = np.flatnonzero(targets == label)
        if rng is not None:
            members = rng.permutation(members)
        # a member is held back where the share of those up to it, rounded, passes the next whole number
        passed = np.floor(np.arange(len(members) + 1) * fraction + 0.5)
        held[members[passed[1:] > passed[:-1]]] = True
    return np.flatnonzero(~held), np.flatnonzero(held)


class Subset:
    """The items of a data set at these indices, in this order; `classes` and `targets` as far as the data set has them.

    >>> subset = Subset([("a", 0), ("b", 1), ("c", 2)], [2, 0])
    >>> len(subset), subset[0]
    (2, ('c', 2))
    """

    def __init__(self, dataset: Any, indices: Sequence[int] | Array):
        self.dataset = dataset
        self.indices = np.asarray(indices, dtype=np.int64).reshape(-1)
        size = len(dataset)
        outside = self.indices[(self.indices < 0) | (self.indices >= size)]
        if len(outside):
            raise IndexError(f"Subset: indices must be 0 to {size - 1}, got {outside[0]}")
        if hasattr(dataset, "classes"):
            self.classes = dataset.classes
        if hasattr(dataset, "targets"):
            self.targets = np.asarray(dataset.targets)[self.indices]

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Any:
        return self.dataset[int(self.indices[index])]

    def gather_batch(self, indices: Array) -> tuple[Array, Array] | None:
        """A whole batch at once where the data set can."""
        gather = getattr(self.dataset, "gather_batch", None)
        return None if gather is None else gather(self.indices[indices])
