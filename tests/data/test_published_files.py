"""MNIST, Fashion-MNIST and CIFAR-10: the published files, and damaged ones."""

import gzip
import io
import struct
import tarfile

import numpy as np
import pytest

from minicnn.data import CIFAR10, MNIST, FashionMNIST


def idx(array, dimensions=None, kind=8, shape=None):
    """The bytes of an idx file; the header can be made to lie."""
    shape = array.shape if shape is None else shape
    header = struct.pack(f">BBBB{len(shape)}I", 0, 0, kind, dimensions or len(shape), *shape)
    return header + array.astype(np.uint8).tobytes()


IMAGES = np.arange(5 * 28 * 28).reshape(5, 28, 28) % 251
LABELS = np.array([3, 1, 4, 1, 9])


def write_mnist(folder, images=None, labels=None, part="train", packed=True):
    folder.mkdir(parents=True, exist_ok=True)
    for kind, body in (("images-idx3", images), ("labels-idx1", labels)):
        default = idx(IMAGES if kind == "images-idx3" else LABELS)
        body = default if body is None else body
        name = f"{part}-{kind}-ubyte" + (".gz" if packed else "")
        (folder / name).write_bytes(gzip.compress(body) if packed else body)


def one_line(error):
    text = str(error.value)
    assert "\n" not in text
    assert len(text) < 400
    return text


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize(
    ("kind", "below"),
    [
        (MNIST, "."),
        (MNIST, "mnist"),
        (MNIST, "MNIST/raw"),
        (FashionMNIST, "fashion-mnist"),
        (FashionMNIST, "FashionMNIST/raw"),
    ],
)
@pytest.mark.parametrize("train", [True, False])
def test_idx_files_are_found_and_read(tmp_path, kind, below, train, packed):
    write_mnist(tmp_path / below, part="train" if train else "t10k", packed=packed)
    dataset = kind(str(tmp_path), train=train)
    assert len(dataset) == 5
    assert dataset.targets.tolist() == LABELS.tolist()
    image, label = dataset[4]
    assert (image.shape, image.dtype, label, len(dataset.classes)) == ((1, 28, 28), np.float32, 9, 10)
    np.testing.assert_array_equal(image[0], IMAGES[4].astype(np.float32) / np.float32(255))
    with pytest.raises(FileNotFoundError):
        kind(tmp_path, train=not train)


def test_a_transform_gets_bytes_with_the_channel_last(tmp_path):
    write_mnist(tmp_path)
    pixels, _ = MNIST(tmp_path, transform=lambda pixels: pixels)[2]
    assert (pixels.shape, pixels.dtype, pixels.flags.writeable) == ((28, 28, 1), np.uint8, True)
    np.testing.assert_array_equal(pixels[:, :, 0], IMAGES[2])


def test_the_usual_subfolder_comes_before_root(tmp_path):
    write_mnist(tmp_path, labels=idx(LABELS * 0))
    write_mnist(tmp_path / "fashion-mnist")
    assert FashionMNIST(tmp_path).targets.tolist() == LABELS.tolist()


def test_content_decides_whether_a_file_is_gzipped(tmp_path):
    write_mnist(tmp_path)
    for path in tmp_path.glob("*.gz"):
        path.write_bytes(gzip.decompress(path.read_bytes()))
    assert len(MNIST(tmp_path)) == 5


whole = idx(IMAGES)
DAMAGED = {
    "empty": (b"", "is empty"),
    "a text": (b"<html>404 not found</html>", "is not an idx file"),
    "the labels": (idx(LABELS), "is not an idx file"),
    "floats": (idx(IMAGES, kind=13), "is not an idx file"),
    "within the header": (whole[:9], "ends within its header"),
    "too short": (whole[:-1], "has the wrong length"),
    "too long": (whole + b"x", "has the wrong length"),
    "no images": (idx(IMAGES, shape=(0, 28, 28)), "shape"),
    "huge": (idx(IMAGES, shape=(2**32 - 1,) * 3), "more than the file can hold"),
    "other count": (idx(IMAGES[:4]), "has 5 labels for the 4 images"),
}


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("damage", DAMAGED)
def test_damaged_images_are_named(tmp_path, damage, packed):
    body, reason = DAMAGED[damage]
    write_mnist(tmp_path, images=body, packed=packed)
    if damage == "empty":
        for path in tmp_path.glob("*images*"):
            path.write_bytes(b"")
    with pytest.raises(ValueError, match=reason) as error:
        MNIST(tmp_path)
    assert "train-images-idx3-ubyte" in one_line(error)


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        (idx(np.array([3, 1, 10, 1, 9])), "label 2 is 10, expected 0 to 9"),
        (idx(LABELS)[:-1], "wrong length"),
        (b"no", "idx"),
    ],
)
def test_damaged_labels_are_named(tmp_path, labels, reason):
    write_mnist(tmp_path, labels=labels)
    with pytest.raises(ValueError, match=reason) as error:
        MNIST(tmp_path)
    assert "train-labels-idx1-ubyte.gz" in one_line(error)


@pytest.mark.parametrize("keep", [3, 12, 200, -9, -1])
def test_truncated_gzip(tmp_path, keep):
    write_mnist(tmp_path)
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match=r"train-images-idx3-ubyte\.gz is damaged") as error:
        MNIST(tmp_path)
    one_line(error)


def test_flipped_bits_in_gzip_never_pass_nor_raise_anything_else(tmp_path, rng):
    write_mnist(tmp_path)
    path = tmp_path / "train-images-idx3-ubyte.gz"
    body = bytearray(path.read_bytes())
    for place in rng.integers(10, len(body), 200):  # the first ten bytes hold a time stamp, which may be anything
        damaged = bytearray(body)
        damaged[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match="train-images"):
            MNIST(tmp_path)


def test_missing_files_say_what_to_fetch(tmp_path):
    with pytest.raises(FileNotFoundError) as error:
        MNIST(tmp_path)
    text = one_line(error)
    assert "https://ossci-datasets.s3.amazonaws.com/mnist/" in text
    assert f"put it into {tmp_path / 'mnist'}" in text
    write_mnist(tmp_path)
    (tmp_path / "train-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(FileNotFoundError, match="no train-labels-idx1-ubyte"):
        MNIST(tmp_path)
    with pytest.raises(NotADirectoryError, match="is a file"):
        MNIST(tmp_path / "train-images-idx3-ubyte.gz")
    with pytest.raises(TypeError, match="root must be a path, got None"):
        MNIST(None)


def records(count, seed):
    rng = np.random.default_rng(seed)
    body = rng.integers(0, 256, (count, 3073), dtype=np.uint8)
    body[:, 0] %= 10
    return body


NAMES = [f"data_batch_{number}.bin" for number in range(1, 6)] + ["test_batch.bin"]


def write_cifar(folder, packed=False):
    folder.mkdir(parents=True, exist_ok=True)
    for seed, name in enumerate(NAMES):
        body = records(4, seed).tobytes()
        (folder / (name + ".gz" * packed)).write_bytes(gzip.compress(body) if packed else body)


def write_archive(path, names=NAMES):
    with tarfile.open(path, "w:gz") as archive:
        for name in ["readme.html", *names]:
            body = records(4, NAMES.index(name)).tobytes() if name in NAMES else b"<p>"
            member = tarfile.TarInfo("cifar-10-batches-bin/" + name)
            member.size = len(body)
            archive.addfile(member, io.BytesIO(body))


@pytest.mark.parametrize("place", ["root", "subfolder", "gzipped", "archive"])
def test_cifar_is_found_and_read(tmp_path, place):
    if place == "archive":
        write_archive(tmp_path / "cifar-10-binary.tar.gz")
    else:
        write_cifar(tmp_path / "cifar-10-batches-bin" if place == "subfolder" else tmp_path, packed=place == "gzipped")
    train, test = CIFAR10(tmp_path), CIFAR10(str(tmp_path), train=False, transform=lambda pixels: pixels)
    assert (len(train), len(test), train.classes[3]) == (20, 4, "cat")
    second = records(4, 1)
    image, label = train[6]
    assert (image.shape, image.dtype, label) == ((3, 32, 32), np.float32, second[2, 0])
    np.testing.assert_array_equal(image.reshape(-1), second[2, 1:].astype(np.float32) / np.float32(255))
    pixels, _ = test[1]
    assert (pixels.shape, pixels.dtype) == ((32, 32, 3), np.uint8)
    np.testing.assert_array_equal(pixels[:, :, 1].reshape(-1), records(4, 5)[1, 1 + 1024 : 1 + 2048])


def test_cifar_refuses(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"fetch https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"):
        CIFAR10(tmp_path)
    write_cifar(tmp_path)
    batch = tmp_path / "data_batch_3.bin"
    whole = batch.read_bytes()
    for body, reason in [
        (b"", "data_batch_3.bin is empty"),
        (whole[:-1], "data_batch_3.bin has the wrong length"),
        (b"\x0a" + whole[1:], "data_batch_3.bin is damaged: label 0 is 10"),
        (b"not this", "data_batch_3.bin has the wrong length"),
    ]:
        batch.write_bytes(body)
        with pytest.raises(ValueError, match=reason) as error:
            CIFAR10(tmp_path)
        one_line(error)
    batch.unlink()
    with pytest.raises(FileNotFoundError, match=r"no data_batch_3\.bin"):
        CIFAR10(tmp_path)


@pytest.mark.parametrize("damage", ["empty", "text", "truncated", "bits", "another"])
def test_damaged_archive(tmp_path, damage):
    path = tmp_path / "cifar-10-binary.tar.gz"
    write_archive(path, names=NAMES if damage != "another" else NAMES[:2])
    body = path.read_bytes()
    if damage != "another":
        flipped = bytearray(body)
        flipped[len(body) // 2] ^= 255
        path.write_bytes({"empty": b"", "text": b"<html>", "truncated": body[:9000], "bits": bytes(flipped)}[damage])
    with pytest.raises(ValueError, match=r"cifar-10-binary\.tar\.gz") as error:
        CIFAR10(tmp_path)
    one_line(error)


@pytest.mark.parametrize(("kind", "sums"), [(MNIST, (1567298545, 264923200)), (FashionMNIST, None)])
def test_the_real_files(data_root, kind, sums):
    train, test = kind(data_root), kind(data_root, train=False)
    assert (train.images.shape, test.images.shape) == ((60000, 1, 28, 28), (10000, 1, 28, 28))
    if sums is None:  # Fashion-MNIST has the same number of each class
        assert np.bincount(train.targets).tolist() == [6000] * 10
        assert train.classes[train[0][1]] == "Ankle boot"
    else:
        assert np.bincount(train.targets).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
        assert (int(train.images.sum(dtype=np.int64)), int(test.images.sum(dtype=np.int64))) == sums
