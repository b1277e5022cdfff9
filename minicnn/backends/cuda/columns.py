"""Where the columns of im2col lie in memory: tables by which the kernels of a convolution gather them.

Row k of the columns is a (channel, tap), column p an output position. The pixel under both is

    base(p) + offset(k)    in row y0(p) + i(k) and column x0(p) + j(k) of the image

so a kernel adds two numbers for the address, compares two for the padding, and divides nothing. An entry of a table is
four int32, read at once: (offset, i, j, 0). The tables lie on the GPU and are kept: a network asks for the same again.
"""

from functools import lru_cache

import numpy as np

from .arrays import kept, on_device, place

OUTSIDE = -(1 << 30)  # a row outside every image, whatever is added to it
PHASE = 8  # int32 numbers that describe a phase


def forward_table(channels, kernel, size, out_size, padding, dilation, multiple):
    """(table, phases) of a convolution of images (channels, *size): one phase, which is the whole output."""
    return kept(_forward_table(channels, kernel, size, out_size, padding, dilation, multiple, place()))


@lru_cache(maxsize=256)
def _forward_table(channels, kernel, size, out_size, padding, dilation, multiple, place):
    i, j = np.indices(kernel).reshape(2, -1)
    entries = _entries(channels, i * dilation[0] - padding[0], j * dilation[1] - padding[2], size)
    table, _ = _joined([entries], multiple)
    return on_device(table), on_device(np.array((0, 0, *out_size, 0, 0, len(entries), 0), np.int32))


def gradient_tables(rows, filters, kernel, size, dy_size, stride, padding, dilation, multiple):
    """(table, phases, taps, places): what dx (…, *size) gathers from dy (filters, *dy_size); `places` on the host.

    forward: y[oy] = Σ_i weight[i] · x[oy·stride + i·dilation − top]
    so dx[h] = Σ_i weight[i] · dy[(h + top − i·dilation) / stride], over the taps i that divide without rest.
    Pixels (h, w), (h + stride_h, w), … meet the same taps and form a phase: a convolution of dy on its own.

    A phase is (h, w, rows, columns, its first entry in the table, where its filters begin, its entries, its taps); the
    longest come first. `rows` is how many filters each phase has, `taps` the kernel taps of all phases in their order.
    """
    return kept(_gradient_tables(rows, filters, kernel, size, dy_size, stride, padding, dilation, multiple, place()))


@lru_cache(maxsize=256)
def _gradient_tables(rows, filters, kernel, size, dy_size, stride, padding, dilation, multiple, place):
    found = []
    for h in range(min(stride[0], size[0])):
        down = _of_phase(h + padding[0], kernel[0], stride[0], dilation[0])
        for w in range(min(stride[1], size[1])):
            across = _of_phase(w + padding[2], kernel[1], stride[1], dilation[1])
            met = [(i * kernel[1] + j, y, x) for i, y in down for j, x in across]
            taps, i, j = np.array(met, np.int64).reshape(-1, 3).T
            found.append((h, w, taps, _entries(filters, i, j, dy_size)))
    found.sort(key=lambda phase: -len(phase[2]))
    table, starts = _joined([entries for *_, entries in found], multiple)
    places, begin = [], 0
    for (h, w, taps, entries), start in zip(found, starts):
        out_size = -(-(size[0] - h) // stride[0]), -(-(size[1] - w) // stride[1])
        places.append((h, w, *out_size, start, begin, len(entries), len(taps)))
        begin += rows * len(entries)
    taps = np.concatenate([taps for _, _, taps, _ in found]).astype(np.int32)
    return on_device(table), on_device(np.array(places, np.int32).reshape(-1)), on_device(taps), tuple(places)


def _of_phase(position, size, stride, dilation):
    """The taps i with position − i·dilation divisible by stride, and the quotients."""
    taps = [(i, position - i * dilation) for i in range(size)]
    return [(i, rest // stride) for i, rest in taps if rest % stride == 0]


def _entries(channels, i, j, size):
    """(channels · taps, 4): offset, i, j, 0 of each row of the columns."""
    channel = np.arange(channels)[:, None]
    entries = np.zeros((channels, len(i), 4), np.int64)
    entries[:, :, 0] = channel * size[0] * size[1] + i * size[1] + j
    entries[:, :, 1], entries[:, :, 2] = i, j
    return entries.reshape(-1, 4)


def _joined(lists, multiple):
    """(flat int32 table, first entry of each list): each list ends with entries outside, up to a multiple."""
    parts, starts, at = [], [], 0
    for entries in lists:
        padded = np.zeros((-(-len(entries) // multiple) * multiple, 4), np.int64)
        padded[:, 1] = OUTSIDE
        padded[: len(entries)] = entries
        parts.append(padded)
        starts.append(at)
        at += len(padded)
    return np.concatenate(parts).astype(np.int32).reshape(-1), starts
