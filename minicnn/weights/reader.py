"""Reading arrays out of an open file, never more than the file warrants."""

import math
import zlib
from io import BufferedReader
from typing import Literal

import numpy as np

from .errors import BadFileError
from .tensors import Block, Kind, Tensor

FACTOR = 8  # arrays may take so many times the size of the file (bfloat16 takes 2, float8 takes 4) …
FLOOR = 32 * 2**20  # … plus this many bytes
CHUNK = 2**18  # read at a time, so that the checksum is computed while the bytes are in the cache


class Reader:
    """One open file, the byte order of its arrays, and how much may still be allocated for it."""

    def __init__(self, file: BufferedReader, size: int):
        self.file = file
        self.size = size
        self.byteorder: Literal["<", ">"] = "<"
        self._left = FACTOR * size + FLOOR
        self._strided: tuple[Block, np.ndarray] | None = None  # the last block that was read for a strided view

    def charge(self, nbytes: int) -> None:
        """Account for memory that is about to be allocated; `BadFileError` if it is out of proportion."""
        self._left -= nbytes
        if self._left < 0:
            raise BadFileError(
                f"its arrays would take over {FACTOR} times the {self.size} bytes of the file plus {FLOOR >> 20} MiB"
            )

    def bytes_at(self, start: int, nbytes: int) -> bytes:
        """Exactly these bytes of the file; `BadFileError` if it ends before."""
        if start < 0 or nbytes < 0 or start + nbytes > self.size:
            raise BadFileError("it is cut short")
        self.file.seek(start)
        data = self.file.read(nbytes)
        if len(data) != nbytes:
            raise BadFileError("it is cut short")
        return data

    def array(self, tensor: Tensor) -> np.ndarray:
        """The tensor as a writable C-contiguous array of its own, in native byte order."""
        self.charge(tensor.size * tensor.kind.result_itemsize)
        kind = tensor.kind
        if tensor.size == 0:
            return np.empty(tensor.shape, kind.becomes or kind.code)
        shape = tensor.shape if kind.parts == 1 else (*tensor.shape, kind.parts)
        raw = self._dense(tensor, shape) if tensor.contiguous else self._gathered(tensor, shape)
        if not raw.dtype.isnative:
            raw = raw.byteswap(inplace=True).view(raw.dtype.newbyteorder("="))
        array = raw if kind.convert is None else np.asarray(kind.convert(raw), order="C").reshape(tensor.shape)
        if tensor.conjugate:
            np.conjugate(array, out=array)
        if tensor.negative:
            np.negative(array, out=array)
        return array

    def _dense(self, tensor: Tensor, shape: tuple[int, ...]) -> np.ndarray:
        """Elements that lie one after the other, read straight into their array."""
        raw = np.empty(shape, np.dtype(tensor.kind.code).newbyteorder(self.byteorder))
        self.fill(raw, tensor.block, tensor.start)
        return raw

    def _gathered(self, tensor: Tensor, shape: tuple[int, ...]) -> np.ndarray:
        """Any strides: the whole block is read (once for the views that follow one another), then copied."""
        if self._strided is None or self._strided[0] is not tensor.block:
            self._strided = None  # freed before the next one is allocated
            self.charge(tensor.block.nbytes)
            block = np.empty(tensor.block.nbytes, np.uint8)
            self.fill(block, tensor.block, 0)
            self._strided = (tensor.block, block)
        kind, step = tensor.kind, np.dtype(tensor.kind.code).itemsize
        used = self._strided[1][tensor.start : tensor.start + tensor.span * kind.itemsize]
        strides = [stride * kind.itemsize for stride in tensor.strides]
        if kind.parts > 1:
            strides.append(step)
        numbers = used.view(np.dtype(kind.code).newbyteorder(self.byteorder))
        return np.lib.stride_tricks.as_strided(numbers, shape, strides, writeable=False).copy(order="C")

    def fill(self, array: np.ndarray, block: Block, start: int) -> None:
        """Read `array.nbytes` bytes from byte `start` of a block on, and verify the block's checksum if it has one."""
        if block.start is None or start + array.nbytes > block.nbytes or block.start + block.nbytes > self.size:
            raise BadFileError("it is cut short")
        if block.checksum is not None and array.nbytes != block.nbytes:
            self._verify(block, block.start)
        self.file.seek(block.start + start)
        target = array.reshape(-1).view(np.uint8)
        computed = 0
        step = CHUNK if block.checksum is not None else target.size
        for begin in range(0, target.size, step):
            part = target[begin : begin + step].data
            if self.file.readinto(part) != len(part):
                raise BadFileError("it is cut short")
            if block.checksum is not None:
                computed = zlib.crc32(part, computed)
        _compare(block, computed)

    def _verify(self, block: Block, start: int) -> None:
        """Read a block of which only a part is wanted, for its checksum."""
        computed = 0
        for begin in range(0, block.nbytes, CHUNK):
            computed = zlib.crc32(self.bytes_at(start + begin, min(CHUNK, block.nbytes - begin)), computed)
        _compare(block, computed)


def _compare(block: Block, computed: int) -> None:
    if block.checksum is not None and block.checksum != computed:
        raise BadFileError("it is damaged: the checksum of an array does not fit its bytes")
    block.checksum = None


def as_tensor(block: Block, kind: Kind, shape: tuple[int, ...]) -> Tensor:
    """A C-contiguous tensor that fills a block (safetensors and npz know no other)."""
    strides = [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
    return Tensor(block, kind, 0, shape, tuple(strides))
