"""PyTorch's first container: a tar file of `storages`, `tensors`, and the `pickle` that refers to them by key."""

import io
import struct
from typing import Any

from .errors import BadFileError
from .legacy import part
from .names import storage_dtype
from .reader import Reader
from .tensors import MOST_DIMENSIONS, Block, Storage, Tensor, dense_tensor, kind_of, whole
from .tree import finish
from .unpickle import unpickle

_RECORD = 512  # tar files consist of records: a header, then the content padded to a multiple


def looks_like_tar(head: bytes) -> bool:
    """Whether the first record of a file is the header of a tar file, by its checksum (POSIX.1-1988, ustar)."""
    return len(head) >= _RECORD and head[0] != 0 and _checksum_fits(head[:_RECORD])


def read_tar(reader: Reader) -> Any:
    """The object that the first versions of `torch.save` wrote."""
    members = _members(reader)
    if not {"storages", "tensors", "pickle"} <= members.keys():
        raise BadFileError("it is a tar file, but not PyTorch's")
    storages = _read_storages(reader, *members["storages"])
    tensors = _read_tensors(reader, *members["tensors"], storages)

    def known(key: Any) -> Tensor | Storage:
        if type(key) is str and len(key) <= 20 and key.isdecimal():
            key = int(key)
        found = tensors.get(key, storages.get(key)) if type(key) is int else None
        if found is None:
            raise BadFileError("it refers to something that is neither a tensor nor a storage")
        return found

    pickle = reader.bytes_at(*members["pickle"])
    return finish(unpickle(io.BytesIO(pickle), len(pickle), known), reader)


def _checksum_fits(header: bytes) -> bool:
    """The sum of the header's bytes, those of the checksum itself counted as spaces."""
    return _octal(header[148:156]) == sum(header) - sum(header[148:156]) + 8 * ord(" ")


def _octal(field: bytes) -> int:
    text = field.split(b"\0")[0].strip()
    return int(text, 8) if text and not text.strip(b"01234567") else -1


def _members(reader: Reader) -> dict[str, tuple[int, int]]:
    """(first byte, bytes) of each plain file in the archive."""
    members: dict[str, tuple[int, int]] = {}
    position = 0
    while position + _RECORD <= reader.size:
        header = reader.bytes_at(position, _RECORD)
        if not header.strip(b"\0"):
            break
        size = _octal(header[124:136])
        position += _RECORD
        if not _checksum_fits(header) or size < 0 or position + size > reader.size:
            raise BadFileError("it is damaged: a header of a tar file does not fit")
        name = header[:100].split(b"\0")[0].decode("ascii", "replace").removeprefix("./")
        if header[156:157] in (b"0", b"\0"):
            if name in members:
                raise BadFileError("it is damaged: two entries have one name")
            members[name] = position, size
        position += -(-size // _RECORD) * _RECORD
    return members


def _read_storages(reader: Reader, start: int, size: int) -> dict[int, Storage]:
    """A count; for each storage a pickle (key, device, class), its number of elements and its bytes; then the parts."""
    file, end = reader.file, start + size
    file.seek(start)
    storages: dict[int, Storage] = {}
    for _ in range(whole(unpickle(file, size), "number of storages")):
        key, _, kind = _triple(unpickle(file, size))
        dtype = storage_dtype(kind)
        numel = int.from_bytes(_bytes(file, 8, end), "little", signed=True)
        nbytes = whole(numel, "number of elements") * kind_of(dtype).itemsize
        place = file.tell()
        if place + nbytes > end:
            raise BadFileError("it is cut short")
        file.seek(place + nbytes)
        storages[key] = Storage(Block(nbytes, place), dtype, 0, numel)
    views = unpickle(file, size)
    if file.tell() > end or type(views) is not list:
        raise BadFileError("it is damaged: its list of storages does not fit")
    for view in views:
        if type(view) is not tuple or len(view) != 4 or type(view[0]) is not int or type(view[1]) is not int:
            raise BadFileError("it is damaged: a part of a storage has no place")
        if view[1] not in storages:
            raise BadFileError("it is damaged: a part of a storage has no place")
        storages[view[0]] = part(storages[view[1]], whole(view[2], "offset"), whole(view[3], "number of elements"))
    return storages


def _read_tensors(reader: Reader, start: int, size: int, storages: dict[int, Storage]) -> dict[int, Tensor]:
    """A count; for each tensor a pickle (key, key of the storage, class), its dimensions, shape, strides and offset."""
    file, end = reader.file, start + size
    file.seek(start)
    tensors: dict[int, Tensor] = {}
    for _ in range(whole(unpickle(file, size), "number of tensors")):
        key, storage, _ = _triple(unpickle(file, size))
        (ndim,) = struct.unpack("<i4x", _bytes(file, 8, end))
        if not 0 <= ndim <= MOST_DIMENSIONS:
            raise BadFileError(f"it is damaged: a tensor has {ndim} dimensions")
        *sizes, offset = struct.unpack(f"<{2 * ndim + 1}q", _bytes(file, 8 * (2 * ndim + 1), end))
        if type(storage) is not int or storage not in storages:
            raise BadFileError("it is damaged: a tensor has no storage")
        tensors[key] = dense_tensor(storages[storage], offset, tuple(sizes[:ndim]), tuple(sizes[ndim:]))
    return tensors


def _triple(value: Any) -> tuple[int, Any, Any]:
    if type(value) is not tuple or len(value) != 3 or type(value[0]) is not int:
        raise BadFileError("it is damaged: a tensor or storage has no key")
    return value


def _bytes(file: Any, count: int, end: int) -> bytes:
    if file.tell() + count > end:
        raise BadFileError("it is cut short")
    return file.read(count)
