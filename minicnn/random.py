"""The one source of randomness: `manual_seed` makes a whole run repeatable.

Whoever needs random numbers and was given none (initialisation, dropout, the order of the data, augmentation) asks
`generator()`. Each call of `manual_seed` starts that stream anew; without one it starts from the operating system.
"""

import numpy as np

_generator = np.random.default_rng()


def manual_seed(seed: int) -> None:
    """Start the stream of random numbers anew, so that what follows repeats exactly.

    seed: an int ≥ 0. A `TypeError` for another type, a `ValueError` below 0.

    >>> import minicnn
    >>> minicnn.manual_seed(0)
    >>> first = generator().random()
    >>> minicnn.manual_seed(0)
    >>> generator().random() == first
    True
    """
    global _generator
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)):
        raise TypeError(f"manual_seed: seed must be an int, got {type(seed).__name__}")
    if seed < 0:
        raise ValueError(f"manual_seed: seed must be at least 0, got {seed}")
    _generator = np.random.default_rng(int(seed))


def generator() -> np.random.Generator:
    """The generator that everything random draws from unless it was given one of its own."""
    return _generator
