"""Which numbers a page needs: all of a small network, of a large one those of some places in each layer.

The open places of a layer are each of its chosen channels at each of a few positions: a filter and its gradient then
serve all positions, a patch and its gradient all channels, so that 24 · 12 places cost little more than 24.
"""

from typing import Any

import numpy as np

from .pack import Pack
from .record import Node

Array = np.ndarray
Open = dict[str, list]  # {"channels": [c, …], "positions": [[row, column], …]} or {"units": [u, …]}

CHANNELS = 24  # of a layer, drawn and open
POSITIONS = 12  # of each map, open in every chosen channel
UNITS = 32  # of a layer without maps


def channels_of(y: Array, dy: Array | None) -> Array:
    """The channels that matter most to the loss, Σ |y · dy|, in order of their number."""
    weights = np.abs(y if dy is None else y * dy).sum(axis=(0, 2, 3))
    return np.sort(np.argsort(-np.nan_to_num(weights), kind="stable")[:CHANNELS])


def open_places(node: Node, channels: Array | None) -> Open:
    """The places of the output that matter most to the loss; positions keep a distance from each other."""
    y, dy = node.arrays["y"][0], node.arrays.get("dy")
    importance = np.nan_to_num(np.abs(y if dy is None else y * dy[0]))
    if y.ndim == 1:
        return {"units": np.argsort(-importance, kind="stable")[:UNITS].tolist()}
    left = importance[channels].sum(axis=0)  # (H, W)
    reach = int(np.sqrt(left.size / POSITIONS) / 2)  # half of what each would have if they lay in a lattice
    found: list[list[int]] = []
    while len(found) < min(POSITIONS, left.size) and left.max() >= 0:
        row, column = map(int, np.unravel_index(int(np.argmax(left)), left.shape))
        found.append([row, column])
        left[max(0, row - reach) : row + reach + 1, max(0, column - reach) : column + reach + 1] = -1
    return {"channels": channels.tolist(), "positions": sorted(found)}


def need_all(pack: Pack, node: Node, names: dict[str, str], opened: Open) -> None:
    """Ask for every number that the page shows of these places. names: under which each array is kept."""
    ask = _Asking(pack, names)
    shape = node.arrays["y"].shape[1:]
    if "units" in opened:
        places: list[tuple[int, ...]] = [(unit,) for unit in opened["units"]]
    else:
        places = [(channel, *position) for channel in opened["channels"] for position in opened["positions"]]
    flat = np.ravel_multi_index(np.array(places).T, shape)
    ask(flat, "y", "dy", "indices")
    if node.operation in ("conv2d", "conv_transpose2d"):
        _need_filters(ask, node, opened)
    elif node.operation in _WINDOWS:
        for place in places:
            ask(_flat(node.arrays["x"].shape[1:], place[0], *_window(node, place[1:])), "x", "dx")
    elif node.operation == "linear":
        inputs = node.arrays["weight"].shape[1]
        ask(np.arange(inputs), "x", "dx")
        ask(flat[:, None] * inputs + np.arange(inputs), "weight", "dweight")
    elif node.operation in ("softmax", "log_softmax"):
        _need_rows(ask, node, places)
    elif node.operation == "concat":
        _need_parts(ask, node, places)
    else:  # value by value
        ask(flat, *(name for name, array in node.arrays.items() if array.size == node.arrays["y"].size))


class _Asking:
    """Called with flat places and names of arrays of an operation; those that it does not have are passed over."""

    def __init__(self, pack: Pack, names: dict[str, str]) -> None:
        self.pack, self.names = pack, names

    def __call__(self, places: Any, *names: str) -> None:
        for name in names:
            if name in self.names:
                self.pack.need(self.names[name], places)


def _need_filters(ask: _Asking, node: Node, opened: Open) -> None:
    """The filters of the channels, and at each position the pixels of x under them."""
    weight, x_shape, groups = node.arrays["weight"], node.arrays["x"].shape[1:], node.settings["groups"]
    transposed = node.operation == "conv_transpose2d"
    F = weight.shape[1] * groups if transposed else weight.shape[0]
    inputs = x_shape[0] // groups
    every = np.arange(weight.size).reshape(weight.shape)
    for f in opened["channels"]:
        group = f // (F // groups)
        mine = every[group * inputs : (group + 1) * inputs, f % (F // groups)] if transposed else every[f]
        ask(mine.ravel(), "weight", "dweight")
        ask(f, "bias", "dbias")
    reached = {f // (F // groups) for f in opened["channels"]}
    channels = np.concatenate([group * inputs + np.arange(inputs) for group in sorted(reached)])
    for position in opened["positions"]:
        ask(_flat(x_shape, channels, *_pixels(node, position, transposed)), "x", "dx")


def _pixels(node: Node, position: list[int], transposed: bool) -> list[Array]:
    """The rows and the columns of x that a filter meets at this position of y."""
    settings, sides = node.settings, []
    for axis, at in enumerate(position):
        padding = settings["padding"][axis] if transposed else settings["padding"][2 * axis]
        taps = np.arange(node.arrays["weight"].shape[2 + axis]) * settings["dilation"][axis]
        if transposed:  # at = p · stride + tap − padding
            reached = at + padding - taps
            found = reached[reached % settings["stride"][axis] == 0] // settings["stride"][axis]
        else:
            found = at * settings["stride"][axis] - padding + taps
        sides.append(found[(found >= 0) & (found < node.arrays["x"].shape[2 + axis])])
    return sides


def _need_rows(ask: _Asking, node: Node, places: list[tuple[int, ...]]) -> None:
    """All that a value was divided with: its line along the axis."""
    shape = node.arrays["y"].shape
    every = np.moveaxis(np.arange(node.arrays["y"].size).reshape(shape), node.settings["axis"], -1)[0]
    axis = node.settings["axis"] % len(shape) - 1
    for place in places:
        ask(every[tuple(p for i, p in enumerate(place) if i != axis)], "x", "y", "dy", "dx")


def _need_parts(ask: _Asking, node: Node, places: list[tuple[int, ...]]) -> None:
    """Each place in the array that it came from."""
    axis, names = node.settings["axis"] % node.arrays["y"].ndim, [name for name in node.arrays if len(name) == 1]
    parts = [name for name in names if name != "y"]
    ends = np.cumsum([node.arrays[name].shape[axis] for name in parts])
    for place in places:
        k = int(np.searchsorted(ends, place[axis - 1], side="right"))
        inside = list(place)
        inside[axis - 1] -= int(ends[k - 1]) if k else 0
        ask(np.ravel_multi_index(inside, node.arrays[parts[k]].shape[1:]), parts[k], f"d{parts[k]}")


def _pool_sides(node: Node, axis: int, at: int, size: int) -> Array:
    settings = node.settings
    if "output_size" in settings:
        count = node.arrays["y"].shape[2 + axis]
        return np.arange(at * size // count, -(-(at + 1) * size // count))
    dilation = settings["dilation"][axis] if "dilation" in settings else 1
    return (
        at * settings["stride"][axis] - settings["padding"][axis] + np.arange(settings["kernel_size"][axis]) * dilation
    )


def _interpolate_sides(node: Node, axis: int, at: int, size: int) -> Array:
    side = ("rows", "columns")[axis]
    if node.settings["mode"] == "nearest":
        return node.arrays[side][at : at + 1]
    return np.unique([node.arrays[f"{side}_low"][at], node.arrays[f"{side}_high"][at]])


def _pad_sides(node: Node, axis: int, at: int, size: int) -> Array:
    before = node.settings["amounts"][2 if axis == 0 else 0]
    place = np.array([at - before])
    mode = node.settings["mode"]
    if mode == "circular":
        return place % size
    if mode == "replicate":
        return np.clip(place, 0, size - 1)
    return size - 1 - np.abs(size - 1 - np.abs(place)) if mode == "reflect" else place


_WINDOWS = {
    "max_pool2d": _pool_sides, "avg_pool2d": _pool_sides, "adaptive_avg_pool2d": _pool_sides,
    "interpolate": _interpolate_sides, "pad": _pad_sides,
}  # fmt: skip


def _window(node: Node, place: tuple[int, ...]) -> list[Array]:
    """The rows and the columns of x that one place of y came from."""
    sides = []
    for axis, (at, size) in enumerate(zip(place, node.arrays["x"].shape[2:])):
        found = _WINDOWS[node.operation](node, axis, at, size)
        sides.append(found[(found >= 0) & (found < size)])
    return sides


def _flat(shape: Any, channels: Any, rows: Array, columns: Array) -> Array:
    """Flat places of a (C, H, W) array."""
    _, H, W = shape
    return (np.atleast_1d(channels)[:, None, None] * H + rows[:, None]) * W + columns
