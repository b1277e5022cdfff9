"""PyTorch's container before 1.6: five pickles (magic number, version, system, object, keys), then the storages raw."""

from typing import Any

from .errors import BadFileError, quoted
from .names import storage_dtype
from .reader import Reader
from .tensors import Block, Storage, kind_of, whole
from .tree import finish
from .unpickle import unpickle

MAGIC = 0x1950A86A20F9469CFC6C
VERSION = 1001


def read_legacy(reader: Reader) -> Any:
    """The object that `torch.save` wrote. What is no such file at all is a `BadFileError`, too."""
    file, size = reader.file, reader.size
    file.seek(0)
    if unpickle(file, size) != MAGIC:
        raise BadFileError("it is a bare pickle, not a file of PyTorch")
    if unpickle(file, size) != VERSION:
        raise BadFileError("it is of an unknown version of PyTorch's format")
    unpickle(file, size)  # of the machine that wrote it; the storages are little-endian whatever it says
    storages = _Storages()
    value = unpickle(file, size, storages.named)
    keys = unpickle(file, size)
    storages.place(reader, keys)
    return finish(value, reader)


class _Storages:
    """The storages that the pickle speaks of; their bytes come after it, in the order of the list of keys."""

    def __init__(self) -> None:
        self._roots: dict[str | int, Storage] = {}

    def named(self, persistent_id: Any) -> Storage:
        """("storage", class, key, device, number of elements, None or the part of it that is meant)."""
        if type(persistent_id) is not tuple or len(persistent_id) != 6 or persistent_id[0] != "storage":
            what = persistent_id[0] if type(persistent_id) is tuple and persistent_id else persistent_id
            raise BadFileError(f"it refers to {quoted(what)}, which is not a storage")
        _, kind, key, _, numel, view = persistent_id
        dtype = storage_dtype(kind)
        itemsize = kind_of(dtype).itemsize
        if type(key) not in (str, int):
            raise BadFileError("it is damaged: a storage has no key")
        nbytes = whole(numel, "number of elements") * itemsize
        root = self._roots.setdefault(key, Storage(Block(nbytes), dtype, 0, numel))
        if root.block.nbytes != nbytes:
            raise BadFileError(f"it is damaged: the storage {quoted(str(key)[:40])} has two sizes")
        if view is None:
            return Storage(root.block, dtype, 0, numel)
        if type(view) is not tuple or len(view) != 3:
            raise BadFileError("it is damaged: a part of a storage has no place")
        return part(root, whole(view[1], "storage offset"), whole(view[2], "number of elements"))

    def place(self, reader: Reader, keys: Any) -> None:
        """Find the bytes of each storage: a count of elements (int64), then the elements."""
        if type(keys) is not list or len(keys) != len(self._roots):
            raise BadFileError("it is damaged: its list of storages does not fit")
        start = reader.file.tell()
        for key in keys:
            root = self._roots.get(key) if type(key) in (str, int) else None
            if root is None or root.block.start is not None:
                raise BadFileError("it is damaged: its list of storages does not fit")
            if int.from_bytes(reader.bytes_at(start, 8), "little", signed=True) != root.numel:
                raise BadFileError("it is damaged: the size of a storage does not fit")
            root.block.start = start + 8
            start += 8 + root.block.nbytes
            if start > reader.size:
                raise BadFileError("it is cut short")


def part(root: Storage, offset: int, numel: int) -> Storage:
    """`numel` elements from element `offset` of a storage on."""
    if offset + numel > root.numel:
        raise BadFileError("it is damaged: a part of a storage reaches out of it")
    return Storage(root.block, root.dtype, root.offset + offset * kind_of(root.dtype).itemsize, numel)
