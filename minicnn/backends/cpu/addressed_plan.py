"""How a convolution is cut into blocks, and where in the copy of a block each pixel lies. No Numba here.

    columns(x)[k, q] = copy[steps[k] + places[q]]         k = (channel, tap), q = (image, row, column) of the block

A block is some whole rows of the output, a piece of a long one, or some whole images. A task copies what it reads of x,
with the padding, a few channels at a time: the copy stays in its L1 and L2, and is made in long runs where columns
would be made in short ones, as many times as a kernel has taps.

The pixels (h, w), (h + stride_h, w), … of the input meet the same taps: they are a phase of dx, and each of the
stride_h · stride_w phases is a convolution of dy by these taps. A forward is one phase.
"""

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from .scratch import odd_lines

FORWARD, BACKWARD, PACKED = 0, 1, 2  # how the filters come: see addressed.convolve
LINE = 64  # bytes
COPY, LEAST = 64 << 10, 128  # elements copied at a time; pixels a block, however many elements that copies


@dataclass(frozen=True, eq=False)  # no comparison of arrays: itself is its key in caches
class Phases:
    """Which taps of the kernel take part, phase by phase, and where they read, relative to stride times the output."""

    taps: np.ndarray  # of the kernel, in the order of the phases
    first: np.ndarray  # phases + 1 numbers: where in `taps` each begins, and the end
    y: tuple[int, ...]  # of each of `taps`, the row that it reads
    x: tuple[int, ...]  # and the column
    steps: tuple[int, int]  # phases down and across: those of one row of phases follow one another


@lru_cache(maxsize=256)
def forward_taps(kernel_size, padding, dilation):
    """All taps in one phase: y[oy] = Σ_i weight[i] · x[oy·stride + i·dilation − top]."""
    i, j = np.indices(kernel_size).reshape(2, -1).tolist()
    y, x = (tuple(n * d - p for n in taps) for taps, d, p in zip((i, j), dilation, (padding[0], padding[2])))
    return Phases(np.arange(len(i)), np.array([0, len(i)]), y, x, (1, 1))


@lru_cache(maxsize=256)
def backward_taps(kernel_size, stride, padding, dilation, size):
    """dx[h] = Σ_i weight[i] · dy[(h + top − i·dilation) / stride], over the taps i that divide without rest."""
    found, first = [], [0]
    steps = min(stride[0], size[0]), min(stride[1], size[1])  # an image smaller than the stride has fewer phases
    for h in range(steps[0]):
        rows = _of_phase(h + padding[0], kernel_size[0], stride[0], dilation[0])
        for w in range(steps[1]):
            columns = _of_phase(w + padding[2], kernel_size[1], stride[1], dilation[1])
            found += [(i * kernel_size[1] + j, y, x) for i, y in rows for j, x in columns]
            first.append(len(found))
    taps, y, x = zip(*found) if found else ((), (0,), (0,))
    return Phases(np.array(taps, np.int64), np.array(first), y, x, steps)


def _of_phase(position, size, stride, dilation):
    """The taps i with position − i·dilation divisible by stride, and the quotients."""
    taps = [(i, position - i * dilation) for i in range(size)]
    return [(i, rest // stride) for i, rest in taps if rest % stride == 0]


class Plan(NamedTuple):
    """Blocks of one shape; the last ones of a row, of an image and of the batch may be smaller."""

    images: int  # in a block
    rows: int  # of the output in a block, all of them where there are several images
    columns: int  # likewise, all of them where there are several rows
    blocks: int  # in a batch
    channels: int  # copied at a time
    copy: tuple[int, ...]  # how: see `copy_block`
    copy_size: int
    steps: np.ndarray  # phase by phase, channels · taps of the phase
    places: np.ndarray  # of the pixels of a block


def plan(images, channels, phases, grid, pixels, depth, itemsize, threads):
    """Blocks of at most about so many pixels.

    grid = (oh, ow, stride_h, stride_w); depth: how many products of a phase are summed between two copies, at most.
    """
    oh, ow, stride_y, stride_x = grid
    first_y, taken_y, local_y, span_y = _axis(phases.y, stride_y if oh > 1 else 1)
    first_x, taken_x, local_x, span_x = _axis(phases.x, stride_x if ow > 1 else 1)
    parts = list(pairwise(phases.first.tolist()))
    at_once = max(1, depth // max(1, *(b - a for a, b in parts)))
    at_once = -(-channels // -(-channels // at_once))
    pixels = min(pixels, max(LEAST, COPY // (at_once * local_y * local_x)))
    count, rows, columns = 1, 1, ow
    if oh * ow <= pixels:
        count, rows = _share(images, min(images, pixels // (oh * ow)), 1, oh * ow, threads), oh
    elif ow <= pixels:
        rows = _share(oh, pixels // ow, images, ow, threads)
    else:
        columns = -(-ow // -(-ow // pixels))
    width = (columns - 1) * local_x + span_x + 1
    channel_step = odd_lines(((rows - 1) * local_y + span_y + 1) * width, LINE // itemsize)
    image_step = at_once * channel_step
    offsets = (np.array(phases.y) - first_y) * width + np.array(phases.x) - first_x
    c = np.arange(at_once)[:, None] * channel_step
    steps = np.concatenate([(c + offsets[a:b]).reshape(-1) for a, b in parts])
    n, r, o = np.indices((count, rows, columns), np.int64).reshape(3, -1)
    places = n * image_step + r * (local_y * width) + o * local_x
    copy = (
        first_y, first_x, stride_y if oh > 1 else 1, stride_x if ow > 1 else 1, taken_y, taken_x, local_y, span_y,
        width, channel_step, image_step,
    )  # fmt: skip
    blocks = -(-images // count) * -(-oh // rows) * -(-ow // columns)
    return Plan(count, rows, columns, blocks, at_once, copy, count * image_step, steps.astype(np.int64), places)


def _share(total, most, times, pixels, threads):
    """How many rows or images a block, at most `most` of `total`, so that the threads have equal shares of work.

    pixels: of one of them. A block costs about as much as 16 pixels more.
    """

    def longest(size):
        blocks = times * -(-total // size)
        return -(-blocks // threads) * (size * pixels + 16)

    return min(range(most, 0, -1), key=longest)


def _axis(offsets, stride):
    """First tap, step of the copy in x, step of the output in the copy, last tap: of one tap only what it reads."""
    first, last = min(offsets), max(offsets)
    return (first, stride, 1, 0) if first == last else (first, 1, stride, last - first)
