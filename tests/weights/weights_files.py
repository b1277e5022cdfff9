"""Files for the tests of weights, made by hand where today's PyTorch no longer writes them."""

import io
import pickle
import struct
import tarfile
import zipfile
from collections import OrderedDict
from pathlib import Path

import torch

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C


def torch_zip(
    pickled: bytes, storages: dict[str, bytes] | None = None, method: int = zipfile.ZIP_STORED, **extra
) -> bytes:
    """A file in PyTorch's zip container around any pickle. extra: further entries, by name with `_` for `.`."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        archive.writestr("archive/data.pkl", pickled)
        archive.writestr("archive/byteorder", extra.pop("byteorder", "little"))
        for key, data in (storages or {}).items():
            archive.writestr(f"archive/data/{key}", data)
        for name, data in extra.items():
            archive.writestr(f"archive/{name.replace('_', '.')}", data)
        archive.writestr("archive/version", "3\n")
    return buffer.getvalue()


def legacy(pickled: bytes, storages: list[tuple[str, bytes]] = (), keys: bytes | None = None) -> bytes:
    """A file in PyTorch's legacy container around any pickle; storages: (key, raw bytes with their count)."""
    parts = [LEGACY_MAGIC, 1001, {"protocol_version": 1001, "little_endian": True}]
    head = b"".join(pickle.dumps(part, protocol=2) for part in parts)
    keys = pickle.dumps([key for key, _ in storages], protocol=2) if keys is None else keys
    return head + pickled + keys + b"".join(data for _, data in storages)


def tar(members: dict[str, bytes]) -> bytes:
    """A tar file of these members."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


class _Pickler(pickle.Pickler):
    """Writes tensors and storages as keys, as the first `torch.save` did."""

    def __init__(self, file, keys: dict[int, int]):
        super().__init__(file, protocol=2)
        self.keys = keys

    def persistent_id(self, value):
        return self.keys.get(id(value))


def torch_tar(state: dict[str, torch.Tensor], storage_view: bool = False) -> bytes:
    """A state dict in PyTorch's first container; each tensor has a storage of its own.

    storage_view: let the first tensor lie in a part of its storage that is named as a storage of its own.
    """
    storages, tensors, views, keys = io.BytesIO(), io.BytesIO(), [], {}
    pickle.dump(len(state), storages, protocol=2)
    pickle.dump(len(state), tensors, protocol=2)
    for number, tensor in enumerate(state.values()):
        storage = tensor.untyped_storage()
        numel = len(storage) // tensor.element_size()
        kind = getattr(torch, {torch.float32: "FloatStorage", torch.int64: "LongStorage"}[tensor.dtype])
        root = 100 + number
        pickle.dump((root, "cpu", kind), storages, protocol=2)
        storages.write(struct.pack("<q", numel) + bytes(storage.tolist()))
        offset = tensor.storage_offset()
        if storage_view and number == 0:
            views.append((500, root, offset, numel - offset))
            root, offset = 500, 0
        keys[id(tensor)] = 1000 + number
        pickle.dump((keys[id(tensor)], root, torch.FloatTensor), tensors, protocol=2)
        tensors.write(struct.pack("<i4x", tensor.dim()))
        tensors.write(struct.pack(f"<{2 * tensor.dim() + 1}q", *tensor.shape, *tensor.stride(), offset))
    pickle.dump(views, storages, protocol=2)
    pickled = io.BytesIO()
    _Pickler(pickled, keys).dump(OrderedDict(state))
    members = {"sys_info": b"", "pickle": pickled.getvalue(), "tensors": tensors.getvalue()}
    return tar({**members, "storages": storages.getvalue()})


def saved(value, path: Path, container: str, **options) -> Path:
    """`torch.save` into the zip or the legacy container."""
    torch.save(value, path, _use_new_zipfile_serialization=container == "zip", **options)
    return path
