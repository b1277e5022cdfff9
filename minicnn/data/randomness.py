"""Where augmentation draws its random numbers: from the item, not from the thread that happens to load it.

A `DataLoader` gives each item a stream of its own, made from (seed, epoch, index), so that a sample is augmented in the
same way whatever the number of workers. Outside a loader the draws come from `minicnn.random.generator()`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import numpy as np

from ..random import generator

# A stream that has been started, or the seed sequence of one that nobody has asked for yet: most items draw nothing,
# and starting a generator takes as long as loading a small image.
_source: ContextVar[np.random.Generator | np.random.SeedSequence | None] = ContextVar("source", default=None)


def item_generator() -> np.random.Generator:
    """The generator that a random transform must draw from. A transform of your own calls this too.

    >>> import minicnn
    >>> minicnn.manual_seed(0)
    >>> item_generator() is minicnn.random.generator()  # outside a DataLoader
    True
    """
    source = _source.get()
    if source is None:
        return generator()
    if isinstance(source, np.random.SeedSequence):
        source = np.random.default_rng(source)
        _source.set(source)
    return source


@contextmanager
def drawing_from(source: np.random.Generator | np.random.SeedSequence) -> Iterator[None]:
    """Inside this block, in this thread, `item_generator()` is this stream.

    >>> with drawing_from(np.random.default_rng(1)):
    ...     first = item_generator().random()
    >>> first == np.random.default_rng(1).random()
    True
    """
    token = _source.set(source)
    try:
        yield
    finally:
        _source.reset(token)
