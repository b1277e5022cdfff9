"""Transforms against torchvision's on Pillow images, to the bit."""

import numpy as np
import pytest
from PIL import Image
from torchvision_import import import_torchvision

import minicnn
from minicnn.data import transforms as T
from minicnn.data.images import to_array
from minicnn.data.randomness import drawing_from

SIZES = [(31, 47), (47, 31), (40, 40), (7, 90), (3, 2), (1, 1), (256, 341), (257, 256)]  # (height, width)


@pytest.fixture
def theirs():
    return import_torchvision().transforms


def photograph(height, width, mode="RGB", seed=0):
    """Noise on a gradient: every filter coefficient shows."""
    rng = np.random.default_rng([seed, height, width])
    pixels = rng.integers(0, 256, (height, width, 3), dtype=np.uint8) // 2
    pixels[:, :, 0] += np.linspace(0, 127, width).astype(np.uint8)
    return Image.fromarray(pixels).convert(mode)


def assert_same_image(mine, other):
    assert (mine.mode, mine.size) == (other.mode, other.size)
    np.testing.assert_array_equal(np.asarray(mine), np.asarray(other))


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK", "RGBA"])
@pytest.mark.parametrize("shape", SIZES)
@pytest.mark.parametrize("size", [1, 5, 32, 40, (20, 33), [24], (1, 7)])
def test_resize(theirs, shape, size, mode):
    image = photograph(*shape, mode)
    assert_same_image(T.Resize(size)(image), theirs.Resize(size)(image))


@pytest.mark.parametrize("name", ["nearest", "bilinear", "bicubic", "lanczos", "box", "hamming"])
def test_resize_interpolations(theirs, name):
    image = photograph(50, 37)
    mode = import_torchvision().transforms.InterpolationMode(name)
    assert_same_image(T.Resize(23, interpolation=name)(image), theirs.Resize(23, interpolation=mode)(image))


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("shape", SIZES)
@pytest.mark.parametrize("size", [1, 2, 5, 32, 40, (20, 33), (41, 6), [24]])
def test_center_crop(theirs, shape, size, mode):
    image = photograph(*shape, mode)
    assert_same_image(T.CenterCrop(size)(image), theirs.CenterCrop(size)(image))


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK", "RGBA", "1", "LA"])
def test_to_array_is_their_to_tensor(theirs, mode):
    image = photograph(5, 8, mode)
    mine, other = T.ToArray()(image), theirs.ToTensor()(image).numpy()
    assert (mine.dtype, mine.flags.c_contiguous) == (np.float32, True)
    np.testing.assert_array_equal(mine, other)


def test_normalize_is_theirs(theirs, rng):
    import torch

    x = rng.random((3, 5, 6), dtype=np.float32)
    mean, std = T.IMAGENET_MEAN, T.IMAGENET_STD
    other = theirs.Normalize(mean, std)(torch.from_numpy(x)).numpy()
    before = x.copy()
    mine = T.Normalize(mean, std)(x)
    assert mine.dtype == np.float32
    np.testing.assert_allclose(mine, other, rtol=2e-7, atol=0)
    np.testing.assert_array_equal(x, before)
    batch = T.Normalize(0.5, 0.25)(x[np.newaxis].astype(np.float64))
    np.testing.assert_allclose(batch, (x[np.newaxis].astype(np.float64) - 0.5) / 0.25, rtol=1e-15)


@pytest.mark.parametrize("shape", [(300, 400), (400, 300), (100, 900), (20, 30)])
def test_imagenet_eval_is_theirs(theirs, shape):
    image = photograph(*shape)
    other = theirs.Compose(
        [
            theirs.Resize(256),
            theirs.CenterCrop(224),
            theirs.ToTensor(),
            theirs.Normalize(T.IMAGENET_MEAN, T.IMAGENET_STD),
        ]
    )(image)
    np.testing.assert_allclose(T.imagenet_eval()(image), other.numpy(), rtol=2e-7, atol=0)


def test_imagenet_eval_on_real_photographs(theirs, data_root):
    other = theirs.Compose([theirs.Resize(256), theirs.CenterCrop(224), theirs.ToTensor()])
    mine = T.Compose(T.imagenet_eval().transforms[:-1])
    files = sorted(
        path for path in (data_root / "imagenet-samples").iterdir() if path.suffix.lower() in (".jpg", ".jpeg")
    )
    assert len(files) == 40
    for path in files:
        image = minicnn.data.read_image(path)
        np.testing.assert_array_equal(mine(image), other(image).numpy(), err_msg=path.name)


class TorchDraws:
    """A generator that draws what torchvision draws, in its order."""

    def random(self):
        import torch

        return torch.rand(1).item()

    def uniform(self, low, high):
        import torch

        return torch.empty(1).uniform_(low, high).item()

    def integers(self, low, high):
        import torch

        return torch.randint(low, high, size=(1,)).item()


@pytest.mark.parametrize("shape", [(300, 400), (90, 31), (31, 90), (10, 400), (3, 2)])
@pytest.mark.parametrize(
    "options",
    [{}, {"scale": (0.5, 1.0), "ratio": (1.0, 1.0)}, {"ratio": (0.2, 0.3)}, {"scale": (2.0, 3.0), "ratio": (3.0, 4.0)}],
)
def test_random_resized_crop_with_their_draws(theirs, shape, options):
    import torch

    image = photograph(*shape)
    for seed in range(20):
        torch.manual_seed(seed)
        expected = theirs.RandomResizedCrop((19, 24), **options)(image)
        torch.manual_seed(seed)
        with drawing_from(TorchDraws()):
            assert_same_image(T.RandomResizedCrop((19, 24), **options)(image), expected)


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize(
    ("size", "options"),
    [
        (20, {}),
        ((31, 47), {}),
        ((31, 47), {"padding": 4}),
        (30, {"padding": (3, 1), "fill": 9}),
        (30, {"padding": (3, 1, 0, 2)}),
        (60, {"pad_if_needed": True}),
        ((20, 60), {"pad_if_needed": True, "padding": 2, "fill": 200}),
    ],
)
def test_random_crop_with_their_draws(theirs, size, options, mode):
    import torch

    image = photograph(31, 47, mode)
    for seed in range(10):
        torch.manual_seed(seed)
        expected = theirs.RandomCrop(size, **options)(image)
        torch.manual_seed(seed)
        with drawing_from(TorchDraws()):
            assert_same_image(T.RandomCrop(size, **options)(image), expected)


@pytest.mark.parametrize("name", ["RandomHorizontalFlip", "RandomVerticalFlip"])
def test_flips_with_their_draws(theirs, name):
    import torch

    image = photograph(5, 8)
    for seed in range(20):
        torch.manual_seed(seed)
        expected = getattr(theirs, name)(0.4)(image)
        torch.manual_seed(seed)
        with drawing_from(TorchDraws()):
            assert_same_image(getattr(T, name)(0.4)(image), expected)


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize(
    "transform",
    [
        T.Resize(13),
        T.Resize((50, 60)),
        T.CenterCrop(40),
        T.CenterCrop((6, 50)),
        T.RandomCrop(20, padding=3, fill=7),
        T.RandomCrop(60, pad_if_needed=True),
        T.RandomResizedCrop(16),
        T.RandomHorizontalFlip(),
        T.RandomVerticalFlip(),
        T.Compose([T.RandomCrop(20), T.ToArray()]),
    ],
    ids=repr,
)
def test_arrays_give_what_images_give(transform, mode):
    image = photograph(31, 47, mode)
    pixels = to_array(image)
    pixels.flags.writeable = False
    inputs = [pixels, np.asfortranarray(pixels)] + ([pixels[:, :, 0]] if mode == "L" else [])
    for seed in range(5):
        with drawing_from(np.random.default_rng(seed)):
            expected = transform(image)
        expected = to_array(expected) if isinstance(expected, Image.Image) else expected
        for given in inputs:
            with drawing_from(np.random.default_rng(seed)):
                got = transform(given)
            assert got.dtype == expected.dtype
            np.testing.assert_array_equal(got, expected)


def test_arrays_of_any_number_of_channels(rng):
    pixels = rng.integers(0, 256, (9, 11, 5), dtype=np.uint8)
    got = T.Resize((4, 6))(pixels)
    for channel in range(5):
        plane = Image.fromarray(np.ascontiguousarray(pixels[:, :, channel])).resize((6, 4), Image.Resampling.BILINEAR)
        np.testing.assert_array_equal(got[:, :, channel], np.asarray(plane))


def test_manual_seed_repeats_augmentation():
    image = photograph(40, 50)
    transform = T.imagenet_train(16)
    minicnn.manual_seed(3)
    first = [transform(image) for _ in range(4)]
    minicnn.manual_seed(3)
    for expected in first:
        np.testing.assert_array_equal(transform(image), expected)
    assert not np.array_equal(first[0], first[1])


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (lambda: T.Resize(0), "size must be at least 1, got 0"),
        (lambda: T.Resize(-(2**70)), "size must be at least 1"),
        (lambda: T.Resize((20000, 20000)), "more than 200 million pixels"),
        (lambda: T.Resize((1, 2, 3)), "size must be an int or a pair of ints, got \\(1, 2, 3\\)"),
        (lambda: T.Resize(3, interpolation="cubic"), "interpolation must be one of"),
        (lambda: T.Resize(2000)(Image.new("L", (1000, 1))), "2000000 x 2000 is refused"),
        (lambda: T.Resize(2)(np.zeros((0, 3, 1), np.uint8)), "the image is empty, 3 x 0"),
        (lambda: T.CenterCrop((1, 0)), "size must be at least 1, got 0"),
        (lambda: T.CenterCrop((1, 150_000_000))(Image.new("L", (1, 2))), "150000000 x 2 is refused"),
        (lambda: T.RandomCrop(8)(photograph(5, 9)), "an image of 9 x 5 is smaller than the crop of 8 x 8"),
        (lambda: T.RandomCrop(8, padding=(1, 2, 3)), "padding must be an int, a pair or four ints"),
        (lambda: T.RandomCrop(8, padding=-1), "padding must be at least 0, got -1"),
        (lambda: T.RandomCrop(8, padding=10**9)(photograph(5, 9)), "refused"),
        (lambda: T.RandomCrop(8, fill=256), "fill must be 0 to 255, got 256"),
        (lambda: T.RandomHorizontalFlip(1.5), "p must be from 0 to 1, got 1.5"),
        (lambda: T.RandomVerticalFlip(float("nan")), "p must be finite, got nan"),
        (lambda: T.RandomResizedCrop(8, scale=(1, 0.5)), "scale must be 0 < low ≤ high"),
        (lambda: T.RandomResizedCrop(8, ratio=(0, 1)), "ratio must be 0 < low ≤ high"),
        (lambda: T.Normalize(0, 0), "std must not hold 0"),
        (lambda: T.Normalize(0, 1e-60), "std must not hold 0"),
        (lambda: T.Normalize([0, 0], [1, 1, 1]), "mean has 2 channels, std 3"),
        (lambda: T.Normalize([], 1), "mean must hold one number a channel"),
        (lambda: T.Normalize([0] * 3, [1] * 3)(np.zeros((1, 4, 4), np.float32)), "3 channels, got shape \\(1, 4, 4\\)"),
        (lambda: T.Normalize(0, 1)(np.zeros((4, 4), np.float32)), "got shape \\(4, 4\\)"),
        (lambda: T.ToArray()(Image.new("P", (2, 2))), "mode P"),
        (lambda: T.ToArray()(Image.new("I;16", (2, 2))), "mode I;16"),
    ],
)
def test_bad_values(call, reason):
    with pytest.raises(ValueError, match=reason) as error:
        call()
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 400


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (lambda: T.Resize("224"), "size must be an int, got str"),
        (lambda: T.Resize(2.0), "size must be an int, got float"),
        (lambda: T.Resize(True), "size must be an int, got bool"),
        (lambda: T.Resize(3, interpolation=2), "interpolation must be a string, got int"),
        (lambda: T.Resize(3)("cat.jpg"), "takes a Pillow image or a uint8 \\(H, W, C\\) array, got str"),
        (lambda: T.Resize(3)(np.zeros((4, 4, 3))), "got an array of float64, shape \\(4, 4, 3\\)"),
        (lambda: T.CenterCrop(2)(np.zeros((1, 4, 4, 3), np.uint8)), "got an array of uint8"),
        (lambda: T.RandomCrop(8, pad_if_needed=1), "pad_if_needed must be True or False"),
        (lambda: T.RandomHorizontalFlip("0.5"), "p must be a number, got str"),
        (lambda: T.RandomResizedCrop(8, scale=0.5), "scale must be a pair of numbers"),
        (lambda: T.Normalize("a", 1), "mean must be a number, got str"),
        (lambda: T.Normalize(0, 1)(np.zeros((3, 4, 4), np.uint8)), "put ToArray\\(\\) before it"),
        (lambda: T.Compose([T.ToArray(), 3]), "transform 1 must be callable, got int"),
    ],
)
def test_bad_types(call, reason):
    with pytest.raises(TypeError, match=reason):
        call()


def test_a_huge_image_is_refused_before_it_is_decoded():
    class Undecoded(Image.Image):
        size = (20_001, 10_000)

        def load(self):
            raise AssertionError("decoded")

    for transform in (T.Resize(8), T.CenterCrop(8), T.RandomResizedCrop(8), T.RandomCrop(8), T.ToArray()):
        with pytest.raises(ValueError, match="20001 x 10000 is refused"):
            transform(Undecoded())
