"""The digits that ship with the package, splits and subsets."""

import numpy as np
import pytest

from minicnn.data import ArrayDataset, Digits, Subset, load_digits, stratified_split


def test_digits_are_those_of_scikit_learn():
    published = pytest.importorskip("sklearn.datasets", reason="scikit-learn has the same digits").load_digits()
    images, labels = load_digits()
    assert images.dtype == np.float32
    assert labels.dtype == np.int64
    np.testing.assert_array_equal(images[:, 0] * 16, published.images)
    np.testing.assert_array_equal(labels, published.target)


def test_digits_have_their_known_sums():
    images, labels = load_digits()
    assert images.shape == (1797, 1, 8, 8)
    assert images.flags.c_contiguous
    assert (images.min(), images.max()) == (0, 1)
    assert int((images * 16).sum()) == 561718
    assert np.bincount(labels).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]


def test_load_digits_returns_new_arrays():
    images, labels = load_digits()
    images[:] = 7
    labels[:] = 7
    assert load_digits().images.max() == 1
    assert load_digits().labels[0] == 0


def test_the_two_parts_are_all_digits_and_each_class_gives_a_fifth():
    images, labels = load_digits()
    train, test = Digits(), Digits(train=False)
    assert len(train) + len(test) == 1797
    assert np.bincount(test.targets).tolist() == [round(count / 5) for count in np.bincount(labels)]
    both = np.concatenate([train.images, test.images]).reshape(1797, 64) / 16
    everything = images.reshape(1797, 64)
    np.testing.assert_array_equal(both[np.lexsort(both.T)], everything[np.lexsort(everything.T)])
    third_zero = np.flatnonzero(labels == 0)[2]
    np.testing.assert_array_equal(test.images[test.targets == 0][0] / 16, images[third_zero])


def test_digits_items_with_and_without_transform():
    image, label = Digits()[3]
    assert (image.shape, image.dtype, label, type(label)) == ((1, 8, 8), np.float32, 3, int)
    pixels, _ = Digits(transform=lambda pixels: pixels)[3]
    assert (pixels.shape, pixels.dtype) == ((8, 8, 1), np.uint8)
    np.testing.assert_array_equal(pixels[:, :, 0], np.rint(image[0] * 255))


def test_a_transform_gets_a_copy():
    dataset = ArrayDataset(np.zeros((1, 1, 2, 2), np.uint8), [0], ["a"], transform=lambda pixels: pixels.__iadd__(1))
    assert dataset[0][0].max() == 1
    assert dataset.images.max() == 0


def test_array_dataset_checks_its_arrays():
    with pytest.raises(TypeError, match="images must be an array of uint8, got an array of float64"):
        ArrayDataset(np.zeros((2, 1, 3, 3)), [0, 1], ["a", "b"])
    with pytest.raises(ValueError, match=r"images must be \(N, C, H, W\), got \(2, 3, 3\) for 2 targets"):
        ArrayDataset(np.zeros((2, 3, 3), np.uint8), [0, 1], ["a", "b"])
    with pytest.raises(ValueError, match="for 1 targets"):
        ArrayDataset(np.zeros((2, 1, 3, 3), np.uint8), [0], ["a", "b"])


def test_digits_arguments():
    with pytest.raises(TypeError, match="train must be True or False, got int"):
        Digits(train=1)
    with pytest.raises(TypeError, match="transform must be callable or None, got int"):
        Digits(transform=3)
    with pytest.raises(IndexError):
        Digits()[1438]


@pytest.mark.parametrize("seed", [None, 7])
def test_stratified_split_keeps_the_shares(rng, seed):
    targets = rng.integers(0, 4, 1000)
    kept, held = stratified_split(targets, 0.3, seed)
    assert np.array_equal(np.sort(np.concatenate([kept, held])), np.arange(1000))
    for label in range(4):
        assert abs((targets[held] == label).sum() - 0.3 * (targets == label).sum()) <= 0.5
    again = stratified_split(targets, 0.3, seed)
    assert np.array_equal(held, again[1])


@pytest.mark.parametrize("fraction", [0, 1, -0.5, float("nan")])
def test_stratified_split_refuses(fraction):
    with pytest.raises(ValueError, match="stratified_split: fraction"):
        stratified_split(np.zeros(4, int), fraction)


def test_subset():
    digits = Digits(train=False)
    subset = Subset(digits, [5, 2])
    assert len(subset) == 2
    assert subset.targets.tolist() == digits.targets[[5, 2]].tolist()
    assert subset.classes == digits.classes
    np.testing.assert_array_equal(subset[1][0], digits[2][0])
    x, _ = subset.gather_batch(np.array([1, 0]))
    np.testing.assert_array_equal(x, [digits[2][0], digits[5][0]])
    with pytest.raises(IndexError, match="got 359"):
        Subset(digits, [359])
