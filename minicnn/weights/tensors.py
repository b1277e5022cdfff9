"""What a tensor in a file is: a block of bytes, a storage over it, and a strided view of the storage.

Everything here is bookkeeping with Python integers, which do not overflow. No memory is touched before `dense_tensor`
has found every element inside the storage.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from .errors import BadFileError, quoted

MOST_DIMENSIONS = 32  # NumPy 1.26's limit
MOST_BYTES = 2**62  # of any size in a file: what is larger cannot be addressed


class Kind(NamedTuple):
    """How the elements of a dtype lie in a file and what they become."""

    code: str  # NumPy's code of one number in the file, without byte order
    parts: int = 1  # numbers an element: 2 for complex32, which NumPy lacks
    convert: Callable[[np.ndarray], np.ndarray] | None = None  # to a dtype that NumPy has
    becomes: str = ""  # code of the result where `convert` is given

    @property
    def itemsize(self) -> int:
        """Bytes an element takes in the file."""
        return np.dtype(self.code).itemsize * self.parts

    @property
    def result_itemsize(self) -> int:
        """Bytes an element takes in the array that is returned."""
        return np.dtype(self.becomes or self.code).itemsize


def _bfloat16_to_float32(raw: np.ndarray) -> np.ndarray:
    """A bfloat16 is the upper half of a float32: exact."""
    wide = raw.astype(np.uint32)
    wide <<= 16
    return wide.view(np.float32)


def _complex32_to_complex64(raw: np.ndarray) -> np.ndarray:
    """(…, 2) float16, real and imaginary part, to (…) complex64: exact."""
    return raw.astype(np.float32).view(np.complex64)[..., 0]


def _to_bool(raw: np.ndarray) -> np.ndarray:
    return raw != 0


def float8_table(exponent_bits: int, mantissa_bits: int, bias: int, specials: str) -> np.ndarray:
    """The float32 values of all 256 codes of an 8-bit float, all exact.

    specials: "ieee" (the highest exponent is infinity and NaN), "fn" (finite: only all ones is NaN) or
    "fnuz" (finite, no negative zero: its code is the one NaN).
    Micikevicius et al., FP8 Formats for Deep Learning, 2022.
    """
    codes = np.arange(256)
    mantissa = (codes & (2**mantissa_bits - 1)) / 2**mantissa_bits
    exponent = (codes >> mantissa_bits) & (2**exponent_bits - 1)
    # normal: (1 + m)·2^(e − bias); subnormal (e = 0): m·2^(1 − bias)
    value = np.where(exponent > 0, np.ldexp(1 + mantissa, exponent - bias), np.ldexp(mantissa, 1 - bias))
    if specials == "ieee":
        top = exponent == 2**exponent_bits - 1
        value = np.where(top, np.where(mantissa > 0, np.nan, np.inf), value)
    elif specials == "fn":
        value[codes & 0x7F == 0x7F] = np.nan
    value = np.where(codes & 0x80, -value, value)
    if specials == "fnuz":
        value[0x80] = np.nan
    return value.astype(np.float32)


def _float8(table: np.ndarray) -> Kind:
    return Kind("u1", convert=lambda raw: table[raw], becomes="f4")


def _powers_of_two() -> np.ndarray:
    """float8_e8m0fnu: eight bits of exponent, no sign, no mantissa; all ones is NaN (OCP Microscaling Formats 1.0)."""
    return np.append(np.ldexp(np.float32(1), np.arange(255) - 127), np.float32(np.nan))


# By PyTorch's name of the dtype. Kinds that NumPy lacks are widened, exactly.
KINDS: dict[str, Kind] = {
    "float32": Kind("f4"),
    "float64": Kind("f8"),
    "float16": Kind("f2"),
    "bfloat16": Kind("u2", convert=_bfloat16_to_float32, becomes="f4"),
    "complex32": Kind("f2", parts=2, convert=_complex32_to_complex64, becomes="c8"),
    "complex64": Kind("c8"),
    "complex128": Kind("c16"),
    "int8": Kind("i1"),
    "int16": Kind("i2"),
    "int32": Kind("i4"),
    "int64": Kind("i8"),
    "uint8": Kind("u1"),
    "uint16": Kind("u2"),
    "uint32": Kind("u4"),
    "uint64": Kind("u8"),
    "bool": Kind("u1", convert=_to_bool, becomes="?"),
    "float8_e4m3fn": _float8(float8_table(4, 3, 7, "fn")),
    "float8_e4m3fnuz": _float8(float8_table(4, 3, 8, "fnuz")),
    "float8_e5m2": _float8(float8_table(5, 2, 15, "ieee")),
    "float8_e5m2fnuz": _float8(float8_table(5, 2, 16, "fnuz")),
    "float8_e8m0fnu": _float8(_powers_of_two()),
}


class Block:
    """A run of bytes of the file. A pickle may speak of one before its place is known: then `start` is None."""

    __slots__ = ("checksum", "nbytes", "start")

    def __init__(self, nbytes: int, start: int | None = None, checksum: int | None = None):
        self.nbytes = nbytes
        self.start = start
        self.checksum = checksum  # CRC-32 not yet verified; None: verified, or the container has none


class Storage(NamedTuple):
    """`numel` elements of `dtype` from byte `offset` of a block on."""

    block: Block
    dtype: str
    offset: int
    numel: int


class Tensor(NamedTuple):
    """A strided view of a storage, checked. It becomes an array when the whole file is known."""

    block: Block
    kind: Kind
    start: int  # byte of the block at which element (0, …, 0) lies
    shape: tuple[int, ...]
    strides: tuple[int, ...]  # in elements, as PyTorch counts
    conjugate: bool = False
    negative: bool = False

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def span(self) -> int:
        """Elements from the first to the last one that is used."""
        return 1 + sum((n - 1) * step for n, step in zip(self.shape, self.strides)) if self.size else 0

    @property
    def contiguous(self) -> bool:
        """Whether the elements lie one after the other in the order of the indices."""
        expected = 1
        for n, step in zip(reversed(self.shape), reversed(self.strides)):
            if n != 1 and step != expected:
                return False
            expected *= n
        return True


def kind_of(dtype: str) -> Kind:
    """How a dtype is read; `BadFileError` for those that are not."""
    if dtype in KINDS:
        return KINDS[dtype]
    what = "quantised" if dtype.startswith(("qint", "quint")) else "not supported"
    raise BadFileError(f"it holds a tensor of {dtype}, which is {what}")


def whole(value: Any, name: str) -> int:
    """A size out of a file: an int (no bool) that is neither negative nor absurd."""
    if type(value) is not int:
        raise BadFileError(f"{name} must be an integer, got {quoted(value)}")
    if not 0 <= value <= MOST_BYTES:
        raise BadFileError(f"{name} is {'negative' if value < 0 else 'larger than any memory'}")
    return value


def wholes(values: Any, name: str) -> tuple[int, ...]:
    """A shape or strides out of a file."""
    if type(values) not in (tuple, list):
        raise BadFileError(f"{name} must be a tuple of integers, got {quoted(values)}")
    if len(values) > MOST_DIMENSIONS:
        raise BadFileError(f"{name} has {len(values)} entries, more than {MOST_DIMENSIONS} dimensions")
    return tuple(whole(value, name) for value in values)


def dense_tensor(
    storage: Any, offset: Any, shape: Any, strides: Any, dtype: str | None = None, metadata: Any = None
) -> Tensor:
    """A view of a storage, after every number in it has been checked against the storage.

    dtype: of the view, where it is not that of the storage. metadata: `{"conj": True}` and `{"neg": True}` mark a view
    that PyTorch conjugates or negates when it is read.
    """
    if not isinstance(storage, Storage):
        raise BadFileError(f"a tensor must have a storage, got {quoted(storage)}")
    kind = kind_of(dtype or storage.dtype)
    offset, shape, strides = whole(offset, "storage offset"), wholes(shape, "shape"), wholes(strides, "strides")
    if len(shape) != len(strides):
        raise BadFileError(f"a tensor has {len(shape)} dimensions and {len(strides)} strides")
    if math.prod(max(1, n) for n in shape) * kind.result_itemsize > MOST_BYTES:
        raise BadFileError("the shape of a tensor is larger than any memory")
    tensor = Tensor(storage.block, kind, storage.offset + offset * kind.itemsize, shape, strides, *_marks(metadata))
    available = storage.numel * kind_of(storage.dtype).itemsize
    if (offset + tensor.span) * kind.itemsize > available:
        raise BadFileError(
            f"a tensor reaches {_count((offset + tensor.span) * kind.itemsize)} bytes into a storage of {available}"
        )
    return tensor


def _marks(metadata: Any) -> tuple[bool, bool]:
    """(conjugate, negative) of a tensor's metadata."""
    if metadata is None:
        return False, False
    if type(metadata) is not dict or not set(metadata) <= {"conj", "neg"}:
        raise BadFileError("a tensor has metadata that is not known")
    return metadata.get("conj") is True, metadata.get("neg") is True


def _count(number: int) -> str:
    return str(number) if number < 10**18 else "more than 10**18"
