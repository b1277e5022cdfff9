"""Reading photographs with Pillow: six formats, bounded in size, every failure in one line that names the file."""

import os

import numpy as np
from PIL import Image

from . import check

Array = np.ndarray

# Pillow knows more formats, some of which (EPS) start another program: only these are ever tried.
FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "GIF", "TIFF")
SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff")


def read_image(path: str | os.PathLike) -> Image.Image:
    """The image in a file as an RGB Pillow image, as torchvision's default loader gives it.

    Greyscale, CMYK, palette and 16-bit images are converted as Pillow does; an EXIF orientation is not applied; of an
    animation the first frame is taken. The format is told by content. `ValueError`, naming the file, for one that is
    damaged, of another format, or of more than 200 million pixels (told before decoding; Pillow's own
    `Image.MAX_IMAGE_PIXELS` refuses at 179 million unless it was raised). `OSError` where it cannot be read.

    >>> read_image("/nowhere/cat.jpg")
    Traceback (most recent call last):
    FileNotFoundError: [Errno 2] No such file or directory: '/nowhere/cat.jpg'
    """
    with open(path, "rb") as file:
        try:
            with Image.open(file, formats=FORMATS) as image:
                if image.width * image.height > check.MAX_PIXELS:
                    raise ValueError(f"{image.width} x {image.height} are more than 200 million pixels")
                return image.convert("RGB")
        except MemoryError:
            raise
        except Image.UnidentifiedImageError:
            reason = "not one that Pillow can read as " + ", ".join(FORMATS)
        except Exception as error:  # a damaged file makes Pillow's readers raise nearly anything
            reason = " ".join(str(error).split())[:200] or type(error).__name__
    raise ValueError(f"{os.fspath(path)} is not a usable image: {reason}")


def to_array(image: Image.Image) -> Array:
    """uint8 (H, W, C) of a Pillow image of bytes; a palette or more than 8 bits a channel is a `ValueError`.

    >>> to_array(Image.new("L", (4, 2))).shape
    (2, 4, 1)
    """
    if image.mode not in ("1", "L", "LA", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "LAB", "RGBX"):
        raise ValueError(f"an image of mode {image.mode} has no plain 8-bit channels: call its convert('RGB') first")
    array = np.array(image, dtype=np.uint8)
    if image.mode == "1":
        array *= 255
    return array[:, :, np.newaxis] if array.ndim == 2 else array


def to_float(array: Array) -> Array:
    """uint8 (H, W, C) as float32 (C, H, W) in [0, 1], C-contiguous.

    >>> to_float(np.full((1, 2, 3), 255, np.uint8)).shape
    (3, 1, 2)
    """
    return np.divide(np.ascontiguousarray(array.transpose(2, 0, 1)), np.float32(255), dtype=np.float32)
