"""Folders of photographs: what is found, how it is read, what is refused."""

import io
import os
import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image
from torchvision_import import import_torchvision

from minicnn.data import ImageFolder, read_image
from minicnn.data.transforms import ToArray


def picture(height=6, width=9, seed=0):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def make_folder(root):
    """Two classes, a folder in a folder, every suffix in small and capital letters."""
    for number, name in enumerate(
        ["bees/b.png", "bees/a.JPG", "ants/z.bmp", "ants/more/c.webp", "ants/g.gif", "bees/t.TIF"]
    ):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        picture(seed=number).save(path)
    return root


def one_line(error):
    text = str(error.value)
    assert "\n" not in text
    assert len(text) < 400 + len(os.environ.get("TMPDIR", "/tmp")) + 120
    return text


def test_classes_samples_and_items(tmp_path):
    root = make_folder(tmp_path)
    folder = ImageFolder(root)
    assert folder.classes == ["ants", "bees"]
    assert folder.class_to_idx == {"ants": 0, "bees": 1}
    names = [(os.path.relpath(path, root).replace(os.sep, "/"), label) for path, label in folder.samples]
    assert names == [
        ("ants/g.gif", 0),
        ("ants/z.bmp", 0),
        ("ants/more/c.webp", 0),
        ("bees/a.JPG", 1),
        ("bees/b.png", 1),
        ("bees/t.TIF", 1),
    ]
    assert folder.targets.tolist() == [0, 0, 0, 1, 1, 1]
    assert folder.ignored == []
    image, label = folder[4]
    assert (image.shape, image.dtype, image.flags.c_contiguous, label) == ((3, 6, 9), np.float32, True, 1)
    np.testing.assert_array_equal(image, ToArray()(picture(seed=0)))
    raw, _ = ImageFolder(str(root), transform=lambda image: image)[4]
    assert (raw.mode, raw.size) == ("RGB", (9, 6))
    assert len(list(folder)) == len(folder) == 6
    assert folder.broken() == []
    with pytest.raises(IndexError):
        folder[6]


def test_the_same_samples_as_torchvision(tmp_path, data_root):
    theirs = import_torchvision().datasets.ImageFolder
    for root in (data_root / "hymenoptera" / "val", data_root / "hymenoptera" / "train"):
        mine, other = ImageFolder(root), theirs(str(root))
        assert mine.samples == other.samples
        assert mine.class_to_idx == other.class_to_idx
        np.testing.assert_array_equal(np.asarray(read_image(mine.samples[5][0])), np.asarray(other[5][0]))


def exif_rotated():
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees to view
    return {"exif": exif}


KINDS = {
    "greyscale.png": (lambda: picture().convert("L"), {}),
    "bilevel.png": (lambda: picture().convert("1"), {}),
    "palette.png": (lambda: picture().convert("P"), {}),
    "alpha.png": (lambda: picture().convert("RGBA"), {}),
    "grey-alpha.png": (lambda: picture().convert("LA"), {}),
    "sixteen.png": (lambda: Image.fromarray(np.arange(54, dtype=np.uint16).reshape(6, 9) * 1200), {}),
    "sixteen.tif": (lambda: Image.fromarray(np.arange(54, dtype=np.uint16).reshape(6, 9) * 1200), {}),
    "cmyk.jpg": (lambda: picture().convert("CMYK"), {}),
    "cmyk.tif": (lambda: picture().convert("CMYK"), {}),
    "grey.jpg": (lambda: picture().convert("L"), {}),
    "rotated.jpg": (picture, exif_rotated()),
    "progressive.jpg": (picture, {"progressive": True}),
    "animation.gif": (picture, {"save_all": True, "append_images": [picture(seed=1)]}),
    "stereo.jpg": (picture, {"format": "MPO", "save_all": True, "append_images": [picture(seed=1)]}),
    "lossless.webp": (picture, {"lossless": True}),
    "png-in-disguise.jpg": (picture, {"format": "PNG"}),
}


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_is_read_as_torchvision_does(tmp_path, name):
    load = import_torchvision().datasets.folder.default_loader
    make, options = KINDS[name]
    make().save(tmp_path / name, **options)
    mine, other = read_image(tmp_path / name), load(str(tmp_path / name))
    assert (mine.mode, mine.size) == ("RGB", (9, 6))
    np.testing.assert_array_equal(np.asarray(mine), np.asarray(other))


def test_other_files_are_counted_and_named(tmp_path):
    root = make_folder(tmp_path)
    (root / "ants" / "notes.txt").write_text("x")
    (root / "README.md").write_text("x")
    with pytest.warns(
        UserWarning, match=r"2 files in .* are left out, not images of a class: README.md, ants.notes.txt"
    ):
        folder = ImageFolder(root)
    assert [os.path.basename(path) for path in folder.ignored] == ["README.md", "notes.txt"]
    assert len(folder) == 6


def test_a_link_that_leads_back_up_ends(tmp_path):
    root = make_folder(tmp_path)
    try:
        (root / "ants" / "again").symlink_to(root / "ants", target_is_directory=True)
    except OSError:
        pytest.skip("this system makes no symbolic links")
    assert len(ImageFolder(root)) == 6


def test_missing_and_empty_folders(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*nothing"):
        ImageFolder(tmp_path / "nothing")
    with pytest.raises(FileNotFoundError, match="no class folder in"):
        ImageFolder(tmp_path)
    make_folder(tmp_path)
    (tmp_path / "wasps").mkdir()
    with pytest.raises(FileNotFoundError, match="in wasps, of the 3 class folders in"):
        ImageFolder(tmp_path)
    with pytest.raises(NotADirectoryError, match="is a file"):
        ImageFolder(tmp_path / "bees" / "b.png")
    with pytest.raises(TypeError, match="root must be a path, got int"):
        ImageFolder(3)


def encoded(kind):
    buffer = io.BytesIO()
    picture(40, 60).save(buffer, kind)
    return buffer.getvalue()


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n%%EOF\n"
BROKEN = {
    "empty": b"",
    "text": b"hello, I am not an image",
    "cut JPEG": encoded("JPEG")[:700],
    "cut PNG": encoded("PNG")[:-30],
    "cut GIF": encoded("GIF")[:60],
    "cut TIFF": encoded("TIFF")[:90],
    "cut WebP": encoded("WEBP")[:90],
    "cut BMP": encoded("BMP")[:300],
    "PostScript": EPS,
    "PPM": b"P6 2 2 255 " + bytes(12),
}


@pytest.mark.parametrize("damage", BROKEN)
def test_a_broken_image_is_named(tmp_path, damage):
    root = make_folder(tmp_path)
    (root / "bees" / "b.png").write_bytes(BROKEN[damage])
    folder = ImageFolder(root)
    with pytest.raises(ValueError, match=r"b\.png is not a usable image: ") as error:
        folder[4]
    one_line(error)
    ((path, reason),) = folder.broken()
    assert path == folder.samples[4][0]
    assert "not a usable image" in reason


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "TIFF", "WEBP", "BMP"])
def test_damage_gives_an_image_or_a_value_error_naming_the_file(tmp_path, kind, rng):
    body = encoded(kind)
    path = tmp_path / "image"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of odd metadata
        for _ in range(150):
            damaged = bytearray(body[: int(rng.integers(1, len(body) + 1))])
            for place in rng.integers(0, len(damaged), 3):
                damaged[place] = rng.integers(256)
            path.write_bytes(damaged)
            try:
                outcome = read_image(path).mode
            except ValueError as error:
                outcome = str(error)
            assert outcome == "RGB" or outcome.startswith(f"{path} is not a usable image: ")
            assert "\n" not in outcome


def png_of(width, height):
    """A PNG whose header tells of this size, with hardly any content."""

    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("limit", [None, "of Pillow"])
@pytest.mark.parametrize(("width", "height"), [(20_001, 10_000), (2**31 - 1, 2**31 - 1)])
def test_too_many_pixels_are_refused_before_decoding(tmp_path, monkeypatch, width, height, limit):
    if limit is None:
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    path = tmp_path / "big.png"
    path.write_bytes(png_of(width, height))
    with pytest.raises(ValueError, match=r"big\.png is not a usable image: .*pixels"):
        read_image(path)
