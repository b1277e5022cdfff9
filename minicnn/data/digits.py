"""The 1,797 handwritten digits that ship with the package.

E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository, 1998,
doi 10.24432/C50P49, CC BY 4.0; see files/digits-LICENSE.txt.
"""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from . import check
from .arrays import ArrayDataset
from .split import stratified_split

Array = np.ndarray
WHITE = 16  # each pixel counts the inked cells of a 4 x 4 block


class DigitArrays(NamedTuple):
    images: Array  # float32 (1797, 1, 8, 8), 0 (paper) to 1 (ink)
    labels: Array  # int64 (1797,), 0 to 9


def load_digits() -> DigitArrays:
    """All 1,797 digits as (images, labels): float32 (1797, 1, 8, 8) in [0, 1] and int64 (1797,). New arrays each time.

    The order is that of the published file and of scikit-learn's `load_digits`, whose values 0 to 16 are divided by 16.

    >>> images, labels = load_digits()
    >>> images.shape, labels[:5]
    ((1797, 1, 8, 8), array([0, 1, 2, 3, 4]))
    """
    images, labels = _read()
    return DigitArrays(np.divide(images, np.float32(WHITE), dtype=np.float32), labels.astype(np.int64))


class Digits(ArrayDataset):
    """The digits as a data set; the test part is a fixed fifth of each class: its 3rd, 8th, 13th … in the file.

    train: True for 1,438 items, False for the other 359. transform: None, or called with a uint8 (8, 8, 1) array of
    0 to 255. An item is (image, label): without a transform the image is a float32 (1, 8, 8) array in [0, 1].

    >>> len(Digits(train=True)), len(Digits(train=False))
    (1438, 359)
    """

    def __init__(self, train: bool = True, transform: Callable[[Array], Any] | None = None):
        train = check.flag("Digits", "train", train)
        images, labels = _read()
        kept, held = stratified_split(labels, 0.2)
        chosen = kept if train else held
        super().__init__(images[chosen], labels[chosen], [str(digit) for digit in range(10)], transform, white=WHITE)


@cache
def _read() -> tuple[Array, Array]:
    """uint8 (1797, 1, 8, 8) of 0 to 16 and uint8 (1797,)."""
    with np.load(Path(__file__).parent / "files" / "digits.npz", allow_pickle=False) as file:
        return file["images"][:, np.newaxis], file["labels"]
