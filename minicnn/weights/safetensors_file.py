"""safetensors: the length of a JSON header (uint64), the header (name → dtype, shape, place), then the arrays.

https://github.com/huggingface/safetensors#format: the arrays lie one after the other, without holes.
"""

import json
import math
from typing import Any

import numpy as np

from .errors import BadFileError, quoted
from .reader import Reader, as_tensor
from .tensors import KINDS, Block, wholes

LONGEST_HEADER = 100_000_000  # bytes, the format's own limit

_DTYPES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "C64": "complex64", "I64": "int64",
    "I32": "int32", "I16": "int16", "I8": "int8", "U64": "uint64", "U32": "uint32", "U16": "uint16", "U8": "uint8",
    "BOOL": "bool", "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2", "F8_E8M0": "float8_e8m0fnu",
    "F8_E4M3FNUZ": "float8_e4m3fnuz", "F8_E5M2FNUZ": "float8_e5m2fnuz",
}  # fmt: skip


def looks_like_safetensors(head: bytes, size: int) -> bool:
    """Whether the first nine bytes are a length that fits the file and the opening of a JSON object."""
    return len(head) > 8 and head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= size - 8


def read_safetensors(reader: Reader) -> dict[str, np.ndarray]:
    """Arrays by name, in the order of the file's header; its `__metadata__` is dropped."""
    length = int.from_bytes(reader.bytes_at(0, 8), "little")
    if length > LONGEST_HEADER:
        raise BadFileError(f"its header has {length} bytes, more than {LONGEST_HEADER}")
    header = _parse(reader.bytes_at(8, length))
    header.pop("__metadata__", None)
    begin = 8 + length
    blocks = {name: _block(begin, name, entry) for name, entry in header.items()}
    end = begin
    for _, block in sorted(blocks.values(), key=lambda found: (found[1].start, found[1].nbytes)):
        if block.start != end:
            raise BadFileError("it is damaged: its arrays overlap or leave holes")
        end += block.nbytes
    if end != reader.size:
        raise BadFileError(f"it is damaged: its header speaks of {end} bytes, the file has {reader.size}")
    return {
        name: reader.array(as_tensor(block, KINDS[_DTYPES[header[name]["dtype"]]], shape))
        for name, (shape, block) in blocks.items()
    }


def _parse(text: bytes) -> dict[str, Any]:
    try:
        header = json.loads(text.decode("utf-8"), object_pairs_hook=_unique)
    except BadFileError:
        raise
    except ValueError as error:
        raise BadFileError("it is damaged: its header is not JSON") from error
    if not isinstance(header, dict):
        raise BadFileError("it is damaged: its header is not a JSON object")
    return header


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise BadFileError("it is damaged: a name occurs twice in its header")
    return found


def _block(begin: int, name: str, entry: Any) -> tuple[tuple[int, ...], Block]:
    """(shape, place) of one array, its size checked against dtype and shape."""
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise BadFileError(f"it is damaged: the header of {quoted(name)} is not complete")
    dtype, offsets = entry["dtype"], wholes(entry["data_offsets"], "data_offsets")
    if not isinstance(dtype, str) or dtype not in _DTYPES:
        raise BadFileError(f"{quoted(name)} is of dtype {quoted(dtype)}, which is not read")
    shape = wholes(entry["shape"], "shape")
    if len(offsets) != 2 or math.prod(shape) * KINDS[_DTYPES[dtype]].itemsize != offsets[1] - offsets[0]:
        raise BadFileError(f"it is damaged: the size of {quoted(name)} does not fit its shape")
    return shape, Block(offsets[1] - offsets[0], begin + offsets[0])
