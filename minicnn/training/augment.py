"""Random changes to a batch of images (N, C, H, W) that leave their class as it is. Each returns a new array."""

import numpy as np

Array = np.ndarray


def shift(x: Array, most: int, rng: np.random.Generator) -> Array:
    """Move each image by −most to most pixels in both directions; what comes in from outside is 0.

    >>> x = np.arange(1.0, 5.0).reshape(1, 1, 2, 2)
    >>> shift(x, 1, np.random.default_rng(0))[0, 0]  # one up
    array([[3., 4.],
           [0., 0.]])
    """
    count, _, height, width = x.shape
    padded = np.pad(x, ((0, 0), (0, 0), (most, most), (most, most)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (height, width), axis=(2, 3))  # (N, C, 2m+1, 2m+1, H, W)
    top, left = rng.integers(0, 2 * most + 1, size=(2, count))
    return windows[np.arange(count), :, top, left]


def flip(x: Array, rng: np.random.Generator) -> Array:
    """Mirror half of the images, drawn at random, left to right.

    >>> flip(np.array([[[[1.0, 2.0]]], [[[3.0, 4.0]]]]), np.random.default_rng(0)).reshape(2, 2)
    array([[1., 2.],
           [4., 3.]])
    """
    mirrored = rng.random(len(x)) < 0.5
    return np.where(mirrored[:, None, None, None], x[..., ::-1], x)
