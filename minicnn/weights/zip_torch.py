"""PyTorch's zip container (since 1.6): TOP/data.pkl, TOP/byteorder, one entry TOP/data/KEY a storage; all stored."""

import io
import zlib
from typing import Any

from .errors import BadFileError, quoted
from .names import storage_dtype
from .reader import Reader
from .tensors import Block, Storage, kind_of, whole
from .tree import finish
from .unpickle import unpickle
from .zip_container import STORED, Entry

SUFFIX = "/data.pkl"


def read_torch_zip(reader: Reader, entries: dict[str, Entry]) -> Any:
    """The object that `torch.save` wrote."""
    top = _top_folder(entries)
    order = _content(reader, entries[f"{top}/byteorder"]) if f"{top}/byteorder" in entries else b"little"
    if order not in (b"little", b"big"):
        raise BadFileError(f"it is damaged: its byte order is {quoted(order)}")
    reader.byteorder = "<" if order == b"little" else ">"
    blocks: dict[str, Block] = {}

    def storage(persistent_id: Any) -> Storage:
        """("storage", class, key, device, number of elements)."""
        if type(persistent_id) is not tuple or len(persistent_id) != 5 or persistent_id[0] != "storage":
            raise BadFileError("it refers to something that is not a storage")
        _, kind, key, _, numel = persistent_id
        dtype, numel = storage_dtype(kind), whole(numel, "number of elements")
        name = f"{top}/data/{key}" if type(key) in (str, int) else ""
        if name not in entries:
            raise BadFileError(f"it is damaged: the storage {quoted(key)} is missing")
        if name not in blocks:
            entry = entries[name]
            _must_be_stored(entry)
            blocks[name] = Block(entry.nbytes, entry.start, entry.checksum)
        if numel * kind_of(dtype).itemsize > blocks[name].nbytes:
            raise BadFileError(f"it is damaged: the storage {quoted(key)} is shorter than it should be")
        return Storage(blocks[name], dtype, 0, numel)

    pickle = _content(reader, entries[top + SUFFIX])
    return finish(unpickle(io.BytesIO(pickle), len(pickle), storage), reader)


def _top_folder(entries: dict[str, Entry]) -> str:
    """The folder that holds data.pkl; `BadFileError` if there is not exactly one, or it holds a TorchScript program."""
    tops = [name.removesuffix(SUFFIX) for name in entries if name.endswith(SUFFIX) and name.count("/") == 1]
    if len(tops) != 1:
        raise BadFileError("it is a zip file, but neither PyTorch's nor NumPy's")
    if f"{tops[0]}/constants.pkl" in entries:
        raise BadFileError(
            "it is a TorchScript program, not a file of weights; save the state_dict of the model instead"
        )
    return tops[0]


def _must_be_stored(entry: Entry) -> None:
    if entry.method != STORED:
        raise BadFileError(f"entry {quoted(entry.name)} is compressed, which PyTorch does not do")


def _content(reader: Reader, entry: Entry) -> bytes:
    """A small entry as bytes."""
    _must_be_stored(entry)
    data = reader.bytes_at(entry.start, entry.nbytes)
    if entry.checksum is not None and zlib.crc32(data) != entry.checksum:
        raise BadFileError(f"it is damaged: the checksum of entry {quoted(entry.name)} does not fit its bytes")
    return data
