"""The one table of shapes, settings, values and memory layouts that all tests share.

Each case is a NamedTuple whose first field names it in the output of pytest: `@each(CONVOLUTIONS)`.
"""

from typing import NamedTuple

import numpy as np
import pytest

DTYPES = ("float32", "float64")


def each(cases):
    """Runs a test once a case, as its argument `case`."""
    return pytest.mark.parametrize("case", cases, ids=[case.id for case in cases])


def settings_of(case, *without):
    """The fields of a case without its id and those named, as keyword arguments."""
    return {name: value for name, value in case._asdict().items() if name not in ("id", *without)}


class Conv(NamedTuple):
    id: str
    x: tuple
    filters: int
    kernel: tuple
    stride: int | tuple = 1
    padding: int | tuple | str = 0
    dilation: int | tuple = 1
    groups: int = 1
    bias: bool = True


CONVOLUTIONS = [
    Conv("square", (2, 3, 8, 8), 4, (3, 3)),
    Conv("padded", (2, 3, 8, 8), 4, (3, 3), padding=1),
    Conv("pointwise", (2, 5, 6, 7), 4, (1, 1)),
    Conv("pointwise-strided", (2, 5, 6, 7), 4, (1, 1), stride=2),
    Conv("pointwise-padded", (1, 2, 4, 5), 3, (1, 1), padding=(1, 2)),
    Conv("rectangular", (2, 3, 9, 7), 5, (2, 5)),
    Conv("row-kernel", (2, 2, 5, 9), 3, (1, 7), padding=(0, 3)),
    Conv("column-kernel", (2, 2, 9, 5), 3, (7, 1), padding=(3, 0)),
    Conv("even-kernel", (1, 2, 7, 7), 3, (4, 2), padding=(2, 1)),
    Conv("kernel-is-the-image", (2, 3, 4, 5), 6, (4, 5)),
    Conv("kernel-over-padding-only", (1, 2, 1, 1), 2, (3, 3), padding=1),
    Conv("stride-2", (2, 3, 8, 9), 4, (3, 3), stride=2, padding=1),
    Conv("stride-above-kernel", (2, 3, 11, 13), 4, (2, 3), stride=(4, 5)),
    Conv("unequal-strides", (2, 2, 9, 10), 3, (3, 3), stride=(1, 3), padding=(2, 0)),
    Conv("does-not-divide", (1, 2, 10, 11), 3, (3, 4), stride=(3, 4), padding=(0, 1)),
    Conv("dilated", (2, 2, 9, 9), 3, (3, 3), padding=2, dilation=2),
    Conv("unequal-dilations", (1, 2, 8, 11), 3, (3, 2), stride=(2, 1), padding=(1, 2), dilation=(1, 3)),
    Conv("padding-above-kernel", (1, 2, 4, 3), 2, (2, 2), padding=(4, 3)),
    Conv("same", (2, 2, 6, 7), 3, (3, 5), padding="same"),
    Conv("same-dilated", (1, 2, 9, 8), 3, (3, 3), padding="same", dilation=(2, 3)),
    Conv("valid", (1, 2, 6, 7), 3, (3, 5), padding="valid"),
    Conv("groups", (2, 6, 7, 6), 4, (3, 3), padding=1, groups=2),
    Conv("groups-strided", (2, 6, 7, 8), 9, (2, 3), stride=2, groups=3),
    Conv("depthwise", (2, 5, 7, 8), 5, (3, 3), padding=1, groups=5),
    Conv("depthwise-multiplied", (1, 3, 8, 7), 6, (3, 3), stride=2, padding=1, groups=3),
    Conv("without-bias", (2, 3, 6, 6), 4, (3, 3), bias=False),
    Conv("one-image-unbatched", (3, 8, 9), 4, (3, 2), stride=(2, 1), padding=1),
    Conv("no-images", (0, 3, 6, 5), 4, (3, 3), padding=1),
    Conv("no-images-grouped", (0, 4, 6, 5), 4, (3, 3), groups=2),
    Conv("one-pixel", (1, 1, 1, 1), 1, (1, 1)),
    Conv("vector-tails", (1, 17, 9, 19), 33, (3, 3), padding=1),
    Conv("one-wide-row", (1, 1, 1, 130), 2, (1, 3), stride=2),
]


class ConvTranspose(NamedTuple):
    id: str
    x: tuple
    filters: int  # a group
    kernel: tuple
    stride: int | tuple = 1
    padding: int | tuple = 0
    output_padding: int | tuple = 0
    groups: int = 1
    dilation: int | tuple = 1
    bias: bool = True


TRANSPOSED = [
    ConvTranspose("square", (2, 3, 5, 5), 4, (3, 3)),
    ConvTranspose("upsampling", (2, 3, 4, 5), 2, (4, 4), stride=2, padding=1),
    ConvTranspose("rectangular", (2, 3, 4, 6), 2, (2, 5), stride=(3, 2), padding=(0, 2)),
    ConvTranspose("stride-above-kernel", (1, 2, 3, 4), 3, (2, 1), stride=(3, 4)),
    ConvTranspose("output-padding", (2, 3, 4, 5), 2, (3, 3), stride=(2, 3), padding=1, output_padding=(1, 2)),
    ConvTranspose("output-padding-of-a-stride", (1, 2, 4, 3), 2, (3, 2), stride=1, output_padding=(1, 2), dilation=3),
    ConvTranspose("dilated", (1, 2, 5, 4), 3, (3, 2), stride=2, padding=(1, 0), dilation=(2, 3)),
    ConvTranspose("groups", (2, 6, 4, 5), 3, (3, 3), stride=2, padding=1, groups=2),
    ConvTranspose("depthwise", (2, 4, 5, 4), 1, (3, 3), stride=2, groups=4),
    ConvTranspose("without-bias", (1, 2, 4, 4), 2, (3, 3), bias=False),
    ConvTranspose("one-image-unbatched", (3, 4, 5), 2, (3, 3), stride=2),
    ConvTranspose("no-images", (0, 3, 4, 5), 2, (3, 3)),
    ConvTranspose("padding-cuts-all-but-one", (1, 1, 1, 1), 1, (3, 3), padding=1),
]


class Pool(NamedTuple):
    id: str
    x: tuple
    kernel_size: int | tuple
    stride: int | tuple | None = None
    padding: int | tuple = 0
    ceil_mode: bool = False


POOLS = [
    Pool("halving", (2, 3, 8, 6), 2),
    Pool("halving-odd", (2, 3, 7, 9), 2),
    Pool("halving-odd-ceil", (2, 3, 7, 9), 2, ceil_mode=True),
    Pool("resnet-stem", (2, 3, 9, 8), 3, 2, 1),
    Pool("overlapping", (2, 2, 6, 7), 3, 1, 1),
    Pool("rectangular", (1, 2, 8, 9), (2, 3), (1, 2), (0, 1)),
    Pool("stride-above-kernel", (1, 2, 9, 11), (2, 1), (3, 4)),
    Pool("does-not-divide-ceil", (1, 2, 8, 10), 3, (2, 4), 1, ceil_mode=True),
    Pool("last-window-dropped", (1, 1, 4, 4), 2, 3, 1, ceil_mode=True),
    Pool("kernel-above-image-ceil", (1, 2, 3, 3), 5, ceil_mode=True),
    Pool("kernel-is-the-image", (2, 2, 4, 5), (4, 5)),
    Pool("identity", (1, 2, 4, 5), 1),
    Pool("one-image-unbatched", (2, 7, 6), 2, 1),
    Pool("no-images", (0, 3, 7, 6), 2),
    Pool("one-pixel", (1, 1, 1, 1), 1),
    Pool("vector-tails", (1, 2, 5, 41), 3, 2, 1),
    Pool("several-tasks-a-plane", (1, 1, 70, 140), 2, 1),
]

DILATIONS = (1, 2, (1, 3))  # of max pooling

ADAPTIVE_SIZES = (1, 2, 3, 7, (2, 5), (None, 3), (4, None), (9, 11))


class Resize(NamedTuple):
    id: str
    size: int | tuple | None = None
    scale_factor: float | tuple | None = None


RESIZES = [  # of images of 5 × 7
    Resize("doubled", scale_factor=2),
    Resize("by-fractions", scale_factor=(1.7, 0.6)),
    Resize("given-scale-not-out-over-in", scale_factor=1.3),
    Resize("scale-that-keeps-the-size", scale_factor=1.05),
    Resize("larger", size=(11, 9)),
    Resize("smaller", size=(2, 3)),
    Resize("one-pixel", size=1),
    Resize("kept", size=(5, 7)),
    Resize("doubled-by-size", size=(10, 14)),
]

PADDINGS = [(1, 2, 3, 0), (0, 0, 0, 0), (3, 3, 2, 2), (0, 4, 0, 0), (0, 0, 4, 1)]  # of images of 5 × 6

# What an image may hold. Ties: equal maxima in most windows.


def ordinary(shape, rng):
    return rng.standard_normal(shape)


def ties(shape, rng):
    return rng.integers(0, 3, shape).astype(np.float64)


def some_nan(shape, rng):
    return np.where(rng.random(shape) < 0.2, np.nan, ordinary(shape, rng))


def some_infinite(shape, rng):
    x = np.where(rng.random(shape) < 0.2, np.inf, ordinary(shape, rng))
    return np.where(rng.random(shape) < 0.4, -np.inf, x)


def all_minus_infinity(shape, rng):
    return np.full(shape, -np.inf)


VALUES = (ordinary, ties, some_nan, some_infinite, all_minus_infinity)

# The same values in other memory. The last two are views that cannot hold other values than their own.


def transposed(a):
    return np.array(a.T, order="C").T


def channels_last(a):
    return np.moveaxis(np.array(np.moveaxis(a, -3, -1), order="C"), -1, -3) if a.ndim >= 3 else transposed(a)


def reversed_view(a):
    flip = (slice(None, None, -1),) * a.ndim
    return np.array(a[flip], order="C")[flip]


def every_second(a):
    wide = np.full([2 * size for size in a.shape], np.nan, a.dtype)
    view = wide[(slice(1, None, 2),) * a.ndim]
    view[...] = a
    return view


def unaligned(a):
    raw = np.zeros(a.nbytes + 1, np.uint8)[1:]
    view = raw.view(a.dtype).reshape(a.shape)
    view[...] = a
    return view


def read_only(a):
    copy = a.copy()
    copy.flags.writeable = False
    return copy


def overlapping(a):
    """Windows over one row of numbers: neighbours share their memory."""
    strides = [a.itemsize * (i + 1) for i in range(a.ndim)]
    return np.lib.stride_tricks.as_strided(np.resize(a, 1 + sum(a.shape) * a.ndim), a.shape, strides)


def broadcast(a):
    """One number for all: strides of 0."""
    return np.broadcast_to(np.asarray(1.5, a.dtype), a.shape)


LAYOUTS = (transposed, channels_last, reversed_view, every_second, unaligned, read_only, overlapping, broadcast)

# Shapes whose speed matters, small enough for a test: what the benchmarks run larger.
BENCHMARK_CONVOLUTIONS = [
    Conv("resnet-stem", (1, 3, 32, 32), 64, (7, 7), stride=2, padding=3, bias=False),
    Conv("resnet-3x3", (1, 64, 14, 14), 64, (3, 3), padding=1, bias=False),
    Conv("resnet-3x3-strided", (1, 64, 14, 14), 128, (3, 3), stride=2, padding=1, bias=False),
    Conv("resnet-shortcut", (1, 64, 14, 14), 128, (1, 1), stride=2, bias=False),
    Conv("small-cnn-1", (8, 1, 28, 28), 32, (3, 3), padding=1),
    Conv("small-cnn-2", (4, 32, 14, 14), 64, (3, 3), padding=1),
]
