"""Batches from a data set, loaded by worker threads, in the same order and with the same augmentation for any number.

Threads are enough: Pillow's decoding and resizing, which take the time, run without the interpreter lock.
"""

import operator
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from typing import Any

import numpy as np

from ..random import generator
from . import check
from .randomness import drawing_from

Array = np.ndarray
AHEAD = 2  # batches a worker that are loading or waiting: memory stays bounded, and no worker waits for the consumer


class DataLoader:
    """Iterates over a data set in batches (x, y): x float32, (n, C, H, W) for images, C-contiguous; y int64 (n,).

    dataset: anything with `__len__` and `__getitem__` whose items are (array, integer label), arrays of one shape.
    batch_size: items a batch; the last batch has what is left, or is left out with `drop_last`.
    shuffle: a new order each epoch. workers: threads that load ahead; 0 loads in the calling thread.

    seed: an int ≥ 0 makes the order and the augmentation of epoch e a function of (seed, e) alone. None draws a seed
    from `minicnn.random.generator()` at the beginning of each iteration, so that `minicnn.manual_seed` decides.
    epoch: the number of the next iteration. Each `iter(loader)` uses it and adds 1; a run that is resumed sets it (and
    has a seed) and goes on in the same order. Augmentation of an item depends on (seed, epoch, index) alone.

    An error in an item ends the iteration; its message begins with the number of the sample. Leaving a loop early stops
    the workers. Arrays of different shapes in one batch are a `ValueError`, items of another form a `TypeError`.

    >>> from minicnn.data import Digits
    >>> loader = DataLoader(Digits(train=False), batch_size=100, shuffle=True, seed=0)
    >>> len(loader)
    4
    >>> x, y = next(iter(loader))
    >>> x.shape, x.dtype, y.shape, y.dtype
    ((100, 1, 8, 8), dtype('float32'), (100,), dtype('int64'))
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int,
        shuffle: bool = False,
        seed: int | None = None,
        drop_last: bool = False,
        workers: int = 0,
    ):
        if not (hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")):
            raise TypeError(f"DataLoader: dataset must have __len__ and __getitem__, got {check.describe(dataset)}")
        self.dataset = dataset
        self.batch_size = check.integer("DataLoader", "batch_size", batch_size, 1)
        self.shuffle = check.flag("DataLoader", "shuffle", shuffle)
        self.seed = None if seed is None else check.integer("DataLoader", "seed", seed, 0)
        self.drop_last = check.flag("DataLoader", "drop_last", drop_last)
        self.workers = check.integer("DataLoader", "workers", workers, 0)
        self.epoch = 0

    def __len__(self) -> int:
        """The number of batches."""
        count = len(self.dataset)
        return count // self.batch_size if self.drop_last else -(-count // self.batch_size)

    def __iter__(self) -> Iterator[tuple[Array, Array]]:
        if self.seed is None:
            entropy = [int(generator().integers(2**63))]
        else:
            entropy = [self.seed, check.integer("DataLoader", "epoch", self.epoch, 0)]
        self.epoch += 1
        indices = np.arange(len(self.dataset))
        if self.shuffle:
            # spawn keys keep the stream of the order apart from those of the items
            np.random.default_rng(np.random.SeedSequence(entropy, spawn_key=(0,))).shuffle(indices)
        size = self.batch_size
        batches = [indices[start : start + size] for start in range(0, len(self) * size, size)]
        if self.workers == 0:
            return (self._load(batch, entropy, None) for batch in batches)
        return self._load_ahead(batches, entropy)

    def _load_ahead(self, batches: list[Array], entropy: list[int]) -> Iterator[tuple[Array, Array]]:
        """The batches in order, while threads load the next ones."""
        stop = threading.Event()
        threads = max(1, min(self.workers, len(batches)))
        pool = ThreadPoolExecutor(threads, thread_name_prefix="minicnn-loader")
        waiting: deque[Future] = deque()
        rest = iter(batches)

        def submit() -> None:
            batch = next(rest, None)
            if batch is not None:
                # each task in a copy of this thread's context, so that settings of a `with` block hold there too
                waiting.append(pool.submit(copy_context().run, self._load, batch, entropy, stop))

        try:
            for _ in range(AHEAD * threads):
                submit()
            while waiting:
                loaded = waiting.popleft().result()
                submit()
                yield loaded
        finally:  # at the end, after an error, and when the loop is left early
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)

    def _load(self, batch: Array, entropy: list[int], stop: threading.Event | None) -> tuple[Array, Array]:
        gather = getattr(self.dataset, "gather_batch", None)  # data sets that lie in memory give a whole batch at once
        gathered = None if gather is None else gather(batch)
        if gathered is not None:
            return gathered
        x: Array | None = None
        y = np.empty(len(batch), dtype=np.int64)
        for place, index in enumerate(batch.tolist()):
            if stop is not None and stop.is_set():
                break  # nobody waits for this batch any more
            with drawing_from(np.random.SeedSequence(entropy, spawn_key=(1, index))):
                try:
                    item = self.dataset[index]
                except Exception as error:
                    _name_sample(error, index)
                    raise
            image, y[place] = _checked(item, index)
            if x is None:
                x = np.empty((len(batch), *image.shape), dtype=np.float32)
            elif image.shape != x.shape[1:]:
                raise ValueError(
                    f"DataLoader: sample {index} has shape {image.shape}, sample {batch[0]} of the same batch "
                    f"{x.shape[1:]}: make them equal with a transform (Resize and CenterCrop)"
                )
            x[place] = image
        return (np.empty(0, dtype=np.float32) if x is None else x), y


def _checked(item: Any, index: int) -> tuple[Array, int]:
    """(image, label) of one item, the image an array of numbers."""
    if not isinstance(item, (tuple, list)) or len(item) != 2:
        raise TypeError(f"DataLoader: sample {index} must be (image, label), got {check.describe(item)}")
    image, label = item
    if not isinstance(image, np.ndarray):
        if hasattr(image, "getbands"):
            raise TypeError(f"DataLoader: sample {index} is a Pillow image: end its transform with ToArray()")
        image = np.asarray(image)
    if image.dtype == np.uint8 or image.dtype.kind not in "fiu":
        hint = ": end its transform with ToArray()" if image.dtype == np.uint8 else ""
        raise TypeError(f"DataLoader: sample {index} must be an array of floats, got {check.describe(image)}{hint}")
    try:
        if isinstance(label, bool):
            raise TypeError
        return image, operator.index(label)
    except TypeError:
        raise TypeError(
            f"DataLoader: the label of sample {index} must be an integer, got {check.describe(label)}"
        ) from None


def _name_sample(error: Exception, index: int) -> None:
    """Put the number of the sample before the message; where the message is made of more than one text, below it."""
    if len(error.args) == 1 and isinstance(error.args[0], str):
        error.args = (f"sample {index}: {error.args[0]}",)
    else:
        error.add_note(f"while DataLoader loaded sample {index}")
