"""Arrays for the page: all their values where they are few, else chosen values and a picture in 8 bits.

The bytes of all arrays are put one after the other, compressed (zlib) and written as base64. A description an array:
    shape, dtype, at: where its values start       dense: every value
    indices, count                                 sparse: `count` values, and where the differences of their flat
                                                   places start (int32)
    picture: {channels, height, width, shrink, scale, at}
                                                   int8 in [-127, 127], value ≈ scale · q / 127; each cell is the
                                                   mean of shrink × shrink values
"""

import base64
import zlib
from typing import Any

import numpy as np

Array = np.ndarray

DENSE_PAGE = 2_000_000  # values: a page with no more of them keeps every one
DENSE_ARRAY = 4_096  # values: an array with no more of them is kept whole on any page
SIDE = 56  # of a picture


class Pack:
    """Arrays by name. The same memory in the same shape under a second name is kept once."""

    def __init__(self) -> None:
        self.arrays: dict[str, Array] = {}
        self.needed: dict[str, list[Array]] = {}
        self.channels: dict[str, Array] = {}
        self._names: dict[tuple, str] = {}

    def add(self, name: str, array: Array) -> str:
        """The name under which this array is kept: its own, or that of the same memory."""
        array = np.ascontiguousarray(array)
        place = (array.__array_interface__["data"][0], array.shape, array.dtype.str)
        known = self._names.setdefault(place, name)
        if known == name:
            self.arrays[name] = array
        return known

    @property
    def whole(self) -> bool:
        """Whether every value of every array is on the page."""
        return sum(array.size for array in self.arrays.values()) <= DENSE_PAGE

    def is_dense(self, name: str) -> bool:
        return self.whole or self.arrays[name].size <= DENSE_ARRAY

    def need(self, name: str, places: Any) -> None:
        """These flat places of an array must be on the page."""
        self.needed.setdefault(name, []).append(np.atleast_1d(np.asarray(places, np.int64)).ravel())

    def picture(self, name: str, channels: Array) -> None:
        """An array (1, C, H, W) is shown as a picture of these channels, if not whole."""
        self.channels[name] = channels

    def write(self) -> tuple[dict[str, dict[str, Any]], str]:
        """(a description of each array, all bytes as base64)"""
        body, described = bytearray(), {}
        for name, array in self.arrays.items():
            described[name] = self._write(name, array, body)
        return described, base64.b64encode(zlib.compress(bytes(body), 6)).decode()

    def _write(self, name: str, array: Array, body: bytearray) -> dict[str, Any]:
        array = array.astype(np.int32) if array.dtype.kind in "iub" else array
        entry: dict[str, Any] = {"shape": list(array.shape), "dtype": array.dtype.str[1:]}
        if self.is_dense(name):
            return entry | {"at": _append(body, array)}
        if name in self.needed:
            places = np.unique(np.concatenate(self.needed[name]))
            entry |= {"at": _append(body, array.reshape(-1)[places]), "count": len(places)}
            entry["indices"] = _append(body, np.diff(places, prepend=0).astype(np.int32))
        if name in self.channels:
            entry["picture"] = _picture(array[0], self.channels[name], body)
        return entry


def _append(body: bytearray, array: Array) -> int:
    """Where the bytes of the array begin: at a multiple of 8, so that they can be read as they lie."""
    body.extend(bytes(-len(body) % 8))
    start = len(body)
    body.extend(np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False).tobytes())
    return start


def _picture(maps: Array, channels: Array, body: bytearray) -> dict[str, Any]:
    chosen = maps[channels]  # (k, H, W)
    count, height, width = chosen.shape
    shrink = -(-max(height, width) // SIDE)
    rows, columns = -(-height // shrink), -(-width // shrink)
    padded = np.full((count, rows * shrink, columns * shrink), np.nan, np.float32)
    padded[:, :height, :width] = chosen
    small = np.nanmean(padded.reshape(count, rows, shrink, columns, shrink), axis=(2, 4)) if shrink > 1 else padded
    scale = float(np.nanmax(np.abs(small), initial=0.0, where=np.isfinite(small)))
    levels = np.nan_to_num(np.rint(small / (scale or 1.0) * 127), nan=0, posinf=127, neginf=-127).astype(np.int8)
    return {
        "channels": channels.tolist(), "height": rows, "width": columns, "shrink": shrink, "scale": scale,
        "at": _append(body, levels),
    }  # fmt: skip
