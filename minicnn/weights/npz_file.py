"""NumPy's .npz: a zip file of .npy entries, stored or deflated. Format: numpy.lib.format."""

import math
import re
import struct
import zlib

import numpy as np

from .errors import BadFileError, UnsafeFileError, quoted
from .reader import CHUNK, Reader
from .tensors import Block, wholes
from .zip_container import DEFLATED, Entry

LONGEST_HEADER = 4000  # of an entry: a shape and a dtype take a hundred bytes
KINDS = "biufcSU"  # numbers, bools and fixed-length strings; objects are pickles


# The header is the text of a Python dict. It is searched, not parsed: a parser would meet whatever is in the file.
_DESCR = re.compile(r"""['"]descr['"]\s*:\s*(?:['"]([^'"]*)['"]|\[)""")
_FORTRAN = re.compile(r"""['"]fortran_order['"]\s*:\s*(True|False)""")
_SHAPE = re.compile(r"""['"]shape['"]\s*:\s*\(([\d,\sL]*)\)""")


def read_npz(reader: Reader, entries: dict[str, Entry]) -> dict[str, np.ndarray]:
    """Arrays by name."""
    return {name.removesuffix(".npy"): _read_entry(reader, entry) for name, entry in entries.items()}


def _read_entry(reader: Reader, entry: Entry) -> np.ndarray:
    content = _Inflated(reader, entry) if entry.method == DEFLATED else _Stored(reader, entry)
    dtype, fortran, shape = _header(entry, content)
    order = shape[::-1] if fortran else shape  # Fortran order is C order of the transposed array
    nbytes = math.prod(shape) * dtype.itemsize
    if content.used + nbytes != entry.nbytes:
        raise BadFileError(f"it is damaged: the size of {quoted(entry.name)} does not fit its shape")
    array = content.array(dtype, order)
    array = array.T.copy(order="C") if fortran and len(shape) > 1 else array
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def _header(entry: Entry, content: "_Stored | _Inflated") -> tuple[np.dtype, bool, tuple[int, ...]]:
    """(dtype, whether in Fortran order, shape) from the beginning of an entry."""
    magic = content.take(8)
    if magic[:6] != b"\x93NUMPY" or magic[6] not in (1, 2, 3):
        raise BadFileError(f"entry {quoted(entry.name)} is not an array of NumPy")
    (length,) = struct.unpack("<H", content.take(2)) if magic[6] == 1 else struct.unpack("<I", content.take(4))
    if length > LONGEST_HEADER:
        raise BadFileError(f"it is damaged: the header of {quoted(entry.name)} has {length} bytes")
    text = content.take(length).decode("latin1")
    descr, fortran, shape = _DESCR.search(text), _FORTRAN.search(text), _SHAPE.search(text)
    if descr is None or fortran is None or shape is None:
        raise BadFileError(f"it is damaged: the header of {quoted(entry.name)} is not complete")
    sizes = tuple(int(size) for size in re.findall(r"\d+", shape[1]))
    return _dtype(entry, descr[1]), fortran[1] == "True", wholes(sizes, "shape")


def _dtype(entry: Entry, descr: str | None) -> np.dtype:
    if descr is None:
        raise BadFileError(f"{quoted(entry.name)} is a structured array, which is not read")
    try:
        dtype = np.dtype(descr)
    except (TypeError, ValueError) as error:
        raise BadFileError(f"{quoted(entry.name)} is of an unknown dtype") from error
    if dtype.hasobject:
        raise UnsafeFileError(f"{quoted(entry.name)} is an array of objects, which is a pickle")
    if dtype.kind not in KINDS or dtype.shape:
        raise BadFileError(f"{quoted(entry.name)} is of dtype {quoted(str(dtype))}, which is not read")
    return dtype


class _Stored:
    """The content of an entry that lies in the file as it is."""

    def __init__(self, reader: Reader, entry: Entry):
        self.reader = reader
        self.entry = entry
        self.used = 0

    def take(self, count: int) -> bytes:
        if self.used + count > self.entry.nbytes:
            raise BadFileError("it is cut short")
        self.used += count
        return self.reader.bytes_at(self.entry.start + self.used - count, count)

    def array(self, dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
        """The rest of the content."""
        self.reader.charge(math.prod(shape) * dtype.itemsize)
        array = np.empty(shape, dtype)
        if array.nbytes:
            block = Block(self.entry.nbytes, self.entry.start, self.entry.checksum)
            self.reader.fill(array.reshape(-1).view(np.uint8), block, self.used)
        return array


class _Inflated:
    """The content of a deflated entry, never more of it than its header says."""

    def __init__(self, reader: Reader, entry: Entry):
        self.reader, self.entry = reader, entry
        self.used = 0
        self._stream = zlib.decompressobj(-zlib.MAX_WBITS)
        self._next, self._left = entry.start, entry.packed
        self._checksum = 0

    def take(self, count: int) -> bytes:
        """The next bytes of the content."""
        parts = []
        while count > 0:
            packed = self._stream.unconsumed_tail
            if not packed and self._left and not self._stream.eof:
                length = min(CHUNK, self._left)
                packed = self.reader.bytes_at(self._next, length)
                self._next, self._left = self._next + length, self._left - length
            try:
                part = self._stream.decompress(packed, min(count, CHUNK))
            except zlib.error as error:
                raise BadFileError(f"it is damaged: entry {quoted(self.entry.name)} cannot be inflated") from error
            if not part and (self._stream.eof or not (self._left or self._stream.unconsumed_tail)):
                raise BadFileError(f"it is damaged: entry {quoted(self.entry.name)} is cut short")
            self._checksum = zlib.crc32(part, self._checksum)
            self.used, count = self.used + len(part), count - len(part)
            parts.append(part)
        return b"".join(parts)

    def array(self, dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
        """The rest of the content, which must end where the entry's header says."""
        self.reader.charge(math.prod(shape) * dtype.itemsize)
        array = np.empty(shape, dtype)
        target = array.reshape(-1).view(np.uint8) if array.nbytes else np.empty(0, np.uint8)
        for begin in range(0, target.size, CHUNK):
            part = target[begin : begin + CHUNK]
            part[:] = np.frombuffer(self.take(part.size), np.uint8)
        if self.entry.checksum is not None and self._checksum != self.entry.checksum:
            raise BadFileError(f"it is damaged: the checksum of entry {quoted(self.entry.name)} does not fit")
        return array
