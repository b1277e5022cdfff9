"""Shifts and flips of a batch, image by image against slices."""

import numpy as np
import pytest

from minicnn.training.augment import flip, shift


@pytest.mark.parametrize("most", [1, 3])
def test_each_image_is_moved_by_its_own_amount(rng, most):
    x = rng.standard_normal((200, 2, 6, 5))
    kept = x.copy()
    y = shift(x, most, rng)
    np.testing.assert_array_equal(x, kept)
    assert y.shape == x.shape
    padded = np.pad(x, ((0, 0), (0, 0), (most, most), (most, most)))
    seen = set()
    for image, wide in zip(y, padded):
        moves = [(top, left) for top in range(2 * most + 1) for left in range(2 * most + 1)
                 if np.array_equal(image, wide[:, top : top + 6, left : left + 5])]  # fmt: skip
        assert len(moves) == 1
        seen.add(moves[0])
    assert len(seen) > 2 * most + 1  # both directions, each way


def test_about_half_of_the_images_are_mirrored(rng):
    x = rng.standard_normal((400, 3, 4, 5)).astype(np.float32)
    y = flip(x, rng)
    mirrored = np.array([np.array_equal(a, b[..., ::-1]) for a, b in zip(y, x)])
    same = np.array([np.array_equal(a, b) for a, b in zip(y, x)])
    assert (mirrored ^ same).all()
    assert 150 < mirrored.sum() < 250
    assert y.dtype == np.float32
