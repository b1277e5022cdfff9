"""Transforms against Pillow itself and against known sizes: this file needs no torchvision."""

import numpy as np
import pytest
from PIL import Image

from minicnn.data import read_image
from minicnn.data import transforms as T
from minicnn.data.randomness import drawing_from


def photograph(height, width, seed=0):
    return Image.fromarray(np.random.default_rng([seed, height]).integers(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.mark.parametrize(
    ("given", "size", "expected"),  # (height, width); the long side is rounded down
    [
        ((375, 500), 256, (256, 341)),
        ((500, 375), 256, (341, 256)),
        ((333, 500), 256, (256, 384)),
        ((256, 256), 256, (256, 256)),
        ((257, 256), 256, (257, 256)),
        ((31, 47), 10, (10, 15)),
        ((2, 3), 224, (224, 336)),
        ((375, 500), (20, 30), (20, 30)),
        ((375, 500), [24], (24, 32)),
    ],
)
def test_resize_gives_these_sizes_and_pillows_pixels(given, size, expected):
    image = photograph(*given)
    resized = T.Resize(size)(image)
    assert resized.size == expected[::-1]
    np.testing.assert_array_equal(resized, image.resize(expected[::-1], Image.Resampling.BILINEAR))


@pytest.mark.parametrize(
    ("given", "size", "before"),  # (rows, columns) cut off, or added where negative, before the first that is kept
    [
        ((10, 12), (4, 6), (3, 3)),
        ((11, 13), (4, 6), (4, 4)),  # 3.5 is rounded to the even 4
        ((9, 9), (4, 4), (2, 2)),  # as 2.5 is to 2
        ((4, 6), (9, 7), (-2, 0)),  # of the five rows added two come first; of the column none
        ((4, 12), (7, 6), (-1, 3)),
    ],
)
def test_center_crop_takes_this_part(given, size, before):
    pixels = np.asarray(photograph(*given))
    padded = np.pad(pixels, ((20, 20), (20, 20), (0, 0)))
    top, left = before[0] + 20, before[1] + 20
    expected = padded[top : top + size[0], left : left + size[1]]
    np.testing.assert_array_equal(T.CenterCrop(size)(Image.fromarray(pixels)), expected)
    np.testing.assert_array_equal(T.CenterCrop(size)(pixels), expected)


def test_imagenet_eval_step_by_step(data_root):
    path = min((data_root / "imagenet-samples").glob("*.[jJ]*"))
    image = read_image(path)
    width, height = image.size
    short = min(width, height)
    resized = image.resize((256 * width // short, 256 * height // short), Image.Resampling.BILINEAR)
    top, left = round((resized.height - 224) / 2), round((resized.width - 224) / 2)
    pixels = np.asarray(resized, np.float64)[top : top + 224, left : left + 224].transpose(2, 0, 1) / 255
    expected = (pixels - np.reshape([0.485, 0.456, 0.406], (3, 1, 1))) / np.reshape([0.229, 0.224, 0.225], (3, 1, 1))
    np.testing.assert_allclose(T.imagenet_eval()(image), expected, atol=1e-6)


def test_random_resized_crop_is_uniform_in_area_and_in_log_ratio():
    transform = T.RandomResizedCrop(8, scale=(0.1, 0.3), ratio=(0.5, 2.0))
    with drawing_from(np.random.default_rng(0)):
        parts = np.array([transform.part(1000, 1000) for _ in range(4000)])
    top, left, height, width = parts.T
    assert (top >= 0).all()
    assert (left >= 0).all()
    assert (top + height <= 1000).all()
    assert (left + width <= 1000).all()
    area, log_ratio = height * width / 1e6, np.log(width / height)
    for values, low, high in ((area, 0.1, 0.3), (log_ratio, -np.log(2), np.log(2))):
        shares = np.histogram(values, bins=8, range=(low, high))[0] / len(values)
        np.testing.assert_allclose(shares, 1 / 8, atol=0.02)  # four standard deviations
    assert abs(np.corrcoef(area, log_ratio)[0, 1]) < 0.06
    assert abs((top / (1000 - height)).mean() - 0.5) < 0.02


@pytest.mark.parametrize(
    ("shape", "expected"),  # too long for any allowed ratio: the middle, cut to the nearest one
    [((10, 400), (0, 193, 10, 13)), ((400, 10), (193, 0, 13, 10)), ((30, 30), (0, 0, 30, 30))],
)
def test_random_resized_crop_falls_back_to_the_middle(shape, expected):
    transform = T.RandomResizedCrop(8, scale=(2.0, 3.0))  # no part is larger than the image
    assert transform.part(*shape) == expected


def test_random_crop_reaches_every_place():
    pixels = np.arange(12, dtype=np.uint8).reshape(3, 4)
    crop = T.RandomCrop(2, padding=1, fill=99)
    with drawing_from(np.random.default_rng(0)):
        seen = {crop(pixels).tobytes() for _ in range(600)}
    padded = np.pad(pixels, 1, constant_values=99)
    assert seen == {padded[top : top + 2, left : left + 2].tobytes() for top in range(4) for left in range(5)}


@pytest.mark.parametrize("p", [0.0, 0.3, 1.0])
def test_flips_as_often_as_asked(p):
    pixels = np.arange(6, dtype=np.uint8).reshape(2, 3)
    for flip, axis in ((T.RandomHorizontalFlip(p), 1), (T.RandomVerticalFlip(p), 0)):
        with drawing_from(np.random.default_rng(1)):
            flipped = [flip(pixels)[:, :, 0].tolist() for _ in range(2000)]
        mirrored = np.flip(pixels, axis).tolist()
        assert abs(flipped.count(mirrored) / 2000 - p) < 0.04
        assert flipped.count(mirrored) + flipped.count(pixels.tolist()) == 2000
