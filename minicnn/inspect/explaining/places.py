"""Which numbers a page needs: all of a small network, of a large one those of a few places in each layer."""

from typing import Any

import numpy as np

from .pack import CHANNELS, Pack
from .record import Node

Array = np.ndarray

PLACES = 8  # of each large layer, each with all numbers of its forward and backward


def channels_of(y: Array, dy: Array | None) -> Array:
    """The channels that matter most to the loss, Σ |y · dy|, in order of their number."""
    weights = np.abs(y if dy is None else y * dy).sum(axis=(0, 2, 3))
    return np.sort(np.argsort(-np.nan_to_num(weights), kind="stable")[:CHANNELS])


def open_places(node: Node, channels: Array | None) -> list[list[int]]:
    """The most important places of the output, (channel, row, column) or (unit,), no two in one channel or row."""
    y, dy = node.arrays["y"][0], node.arrays.get("dy")
    importance = np.nan_to_num(np.abs(y if dy is None else y * dy[0]))
    if y.ndim == 1:
        return [[int(place)] for place in np.argsort(-importance, kind="stable")[:PLACES]]
    importance = importance[channels].copy()  # (k, H, W)
    found: list[list[int]] = []
    for _ in range(min(PLACES, len(channels))):
        k, row, column = np.unravel_index(int(np.argmax(importance)), importance.shape)
        found.append([int(channels[k]), int(row), int(column)])
        importance[k] = -1
        if importance.shape[1] > PLACES:
            importance[:, row] = -1
    return found


def need_all(pack: Pack, node: Node, names: dict[str, str], places: list[list[int]]) -> None:
    """Ask for every number that the page shows of these places. names: under which each array is kept."""
    shape = node.arrays["y"].shape[1:]
    flat = np.ravel_multi_index(np.array(places).T, shape)
    for name in ("y", "dy", "indices"):
        _need(pack, names, name, flat)
    if node.operation == "conv2d":
        _need_conv(pack, node, names, places)
    elif node.operation in ("max_pool2d", "avg_pool2d", "adaptive_avg_pool2d"):
        for place in places:
            inside = _flat(node.arrays["x"].shape[1:], place[0], *_pool_window(node, place[1:]))
            for name in ("x", "dx"):
                _need(pack, names, name, inside)
    elif node.operation == "linear":
        inputs = node.arrays["weight"].shape[1]
        for name in ("x", "dx"):
            _need(pack, names, name, np.arange(inputs))
        for name in ("weight", "dweight"):
            _need(pack, names, name, flat[:, None] * inputs + np.arange(inputs))
    else:  # value by value
        for name in node.arrays:
            if node.arrays[name].shape[1:] == shape:
                _need(pack, names, name, flat)


def _need_conv(pack: Pack, node: Node, names: dict[str, str], places: list[list[int]]) -> None:
    weight, x_shape, settings = node.arrays["weight"], node.arrays["x"].shape[1:], node.settings
    (F, C, kh, kw), groups = weight.shape, settings["groups"]
    for f, oy, ox in places:
        rows = oy * settings["stride"][0] - settings["padding"][0] + np.arange(kh) * settings["dilation"][0]
        columns = ox * settings["stride"][1] - settings["padding"][2] + np.arange(kw) * settings["dilation"][1]
        rows, columns = rows[(rows >= 0) & (rows < x_shape[1])], columns[(columns >= 0) & (columns < x_shape[2])]
        channels = f // (F // groups) * C + np.arange(C)
        for name in ("x", "dx"):
            _need(pack, names, name, _flat(x_shape, channels, rows, columns))
        for name in ("weight", "dweight"):
            _need(pack, names, name, f * C * kh * kw + np.arange(C * kh * kw))
        for name in ("bias", "dbias"):
            _need(pack, names, name, f)


def _pool_window(node: Node, place: list[int]) -> tuple[Array, Array]:
    """The rows and columns of the image that a window covers."""
    sizes, settings, sides = node.arrays["x"].shape[2:], node.settings, []
    for axis, (position, size) in enumerate(zip(place, sizes)):
        if "output_size" in settings:
            count = settings["output_size"][axis]
            found = np.arange(position * size // count, -(-(position + 1) * size // count))
        else:
            dilation = settings["dilation"][axis] if "dilation" in settings else 1
            start = position * settings["stride"][axis] - settings["padding"][axis]
            found = start + np.arange(settings["kernel_size"][axis]) * dilation
        sides.append(found[(found >= 0) & (found < size)])
    return sides[0], sides[1]


def _flat(shape: Any, channels: Any, rows: Array, columns: Array) -> Array:
    """Flat places of a (C, H, W) array."""
    _, H, W = shape
    return (np.atleast_1d(channels)[:, None, None] * H + rows[:, None]) * W + columns


def _need(pack: Pack, names: dict[str, str], name: str, places: Any) -> None:
    if name in names:
        pack.need(names[name], places)
