"""Hostile and damaged files, generated. Each generator yields (name, bytes)."""

import io
import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Iterator

import numpy as np
import safetensors.numpy
import torch
from weights_files import legacy, tar, torch_tar, torch_zip

Files = Iterator[tuple[str, bytes]]

P2 = b"\x80\x02"


def text(value: str) -> bytes:
    """A string in a pickle."""
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def integer(value: int) -> bytes:
    """An integer in a pickle."""
    raw = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(raw)]) + raw


def named(full: str) -> bytes:
    """A name in a pickle."""
    module, name = full.rsplit(".", 1)
    return f"c{module}\n{name}\n".encode()


def called(full: str, *args: bytes) -> bytes:
    """A call in a pickle."""
    return named(full) + b"(" + b"".join(args) + b"tR"


def tuple_of(*values: int) -> bytes:
    return b"(" + b"".join(integer(value) for value in values) + b"t"


def storage(numel: int = 4, key: str = "0", kind: str = "torch.FloatStorage") -> bytes:
    """A storage in the zip container."""
    return b"(" + text("storage") + named(kind) + text(key) + text("cpu") + integer(numel) + b"tQ"


def tensor(shape, strides, offset: int = 0, stored: bytes | None = None) -> bytes:
    """A tensor in the zip container; the storage of its file holds 4 float32."""
    hooks = called("collections.OrderedDict")
    parts = [stored or storage(), integer(offset), tuple_of(*shape), tuple_of(*strides), b"\x89", hooks]
    return called("torch._utils._rebuild_tensor_v2", *parts)


def unsafe_pickles(canary: str) -> Files:
    """Pickles that call, build or import something. Whatever runs touches the file `canary`, or is seen to import."""
    command = text(f"touch {canary}")
    one = {
        "os.system": called("os.system", command),
        "posix.system": called("posix.system", command),
        "subprocess": called("subprocess.call", b"]" + command + b"a"),
        "popen": called("os.popen", command),
        "eval": called("builtins.eval", text(f"open({canary!r}, 'w')")),
        "exec": called("__builtin__.exec", text(f"open({canary!r}, 'w')")),
        "open": called("io.open", text(canary), text("w")),
        "codecs.open": called("codecs.open", text(canary), text("w")),
        "import": called("builtins.__import__", text("antigravity")),
        "importlib": called("importlib.import_module", text("antigravity")),
        "only a name": named("antigravity.geohash"),
        "getattr": called("builtins.getattr", called("collections.OrderedDict"), text("__class__")),
        "getattr of torch": called("builtins.getattr", named("torch.FloatStorage"), text("from_file")),
        "dotted name": b"ctorch\nos.system\n(" + command + b"tR",
        "through the allow-list": b"ccollections\nOrderedDict.__init__\n",
        "stack global": b"\x80\x04" + text("os") + text("system") + b"\x93(" + command + b"tR",
        "stack global dotted": b"\x80\x04" + text("torch._utils") + text("sys.modules") + b"\x93",
        "instance": b"(" + command + b"ios\nsystem\n",
        "object": b"(" + named("os.system") + command + b"o",
        "object of the allow-list": b"(" + named("collections.OrderedDict") + b"o",
        "new object": named("subprocess.Popen") + command + b"\x85\x81",
        "new object with keywords": named("collections.OrderedDict") + b")}" + text("a") + b"Ns\x92",
        "extension 1": b"\x82\x01",
        "extension 2": b"\x83\x01\x01",
        "extension 4": b"\x84\x01\x01\x01\x01",
        "torch.load": called("torch.load", text(canary)),
        "torch.hub": called("torch.hub.load", text("a"), text("b")),
        "torch.storage": called("torch.storage._load_from_bytes", b"C\x03abc"),
        "from_file": called("torch.FloatStorage.from_file", text(canary), b"\x88", integer(10)),
        "call a string": text("os.system") + b"(" + command + b"tR",
        "call a storage class": called("torch.FloatStorage", integer(10)),
        "call a dtype": called("torch.float32", integer(10)),
        "call a result": called("collections.OrderedDict") + b")R",
        "build": called("collections.Counter") + b"}" + text("__class__") + named("os.system") + b"sb",
        "build a list": b"]}" + text("__class__") + b"Nsb",
        "build a name": named("torch.Size") + b"}b",
        "rebuild by": called("torch._tensor._rebuild_from_type_v2", named("os.system"), named("torch.Tensor"), b")N"),
        "rebuild as": called(
            "torch._tensor._rebuild_from_type_v2", named("torch._utils._rebuild_tensor"), named("os.system"), b")N"
        ),
        "factory": called("collections.defaultdict", named("os.getcwd")),
        "factory of the allow-list": called("collections.defaultdict", named("torch.FloatStorage")),
        "module": named("torch.nn.modules.linear.Linear") + b")\x81}b",
        "numpy": called("numpy.core.multiarray._reconstruct", named("numpy.ndarray"), b"(K\0t", b"C\x01b"),
        "storage class": b"(" + text("storage") + named("os.system") + text("0") + text("cpu") + b"K\x04tQ",
        "a name as value": b"]" + named("torch.FloatStorage") + b"a",
        "a name in a tuple": named("torch.Tensor") + b"\x85",
        "an empty torch tensor": called("torch.FloatTensor"),
        "append to a dict": b"}Na",
        "set an item of a list": b"]NNs",
        "add to a list": b"\x80\x04](N\x90",
    }
    for name, body in one.items():
        yield f"unsafe {name}", (b"" if body.startswith(b"\x80") else P2) + body + b"."
    reduced = pickle.dumps(_Reduced(canary), protocol=4)
    yield "unsafe reduce", reduced


class _Reduced:
    """Pickles as a call of `open`."""

    def __init__(self, canary: str):
        self.canary = canary

    def __reduce__(self):
        return open, (self.canary, "w")


def bad_pickles() -> Files:
    """Pickles that are wrong without naming anything: tensors out of their storage, absurd counts, bombs."""
    huge = 2**62
    bodies = {
        "stride out of the storage": tensor((2,), (4,)),
        "offset out of the storage": tensor((1,), (1,), 4),
        "size out of the storage": tensor((5,), (1,)),
        "sizes that overflow": tensor((2**32, 2**32), (0, 0)),
        "strides that overflow": tensor((2, 2), (2**63, 2**63)),
        "huge offset": tensor((1,), (1,), huge * 4),
        "huge size": tensor((huge * 8,), (0,)),
        "huge empty size": tensor((0, huge, huge), (1, 1, 1)),
        "expanded": tensor((10**5, 10**5), (0, 0)),
        "negative size": tensor((-1,), (1,)),
        "negative sizes": tensor((-2, -2), (1, 1)),
        "negative stride": tensor((2,), (-1,), 3),
        "negative offset": tensor((1,), (1,), -1),
        "more strides than sizes": tensor((1,), (1, 1)),
        "many dimensions": tensor((1,) * 100, (1,) * 100),
        "huge storage": tensor((1,), (1,), 0, storage(huge)),
        "negative storage": tensor((1,), (1,), 0, storage(-1)),
        "storage longer than its entry": tensor((1,), (1,), 0, storage(5)),
        "missing storage": tensor((1,), (1,), 0, storage(4, "1")),
        "storage elsewhere": tensor((1,), (1,), 0, storage(4, "../version")),
        "storage of another type": tensor((1,), (1,), 0, storage(4, "0", "torch.DoubleStorage")),
        "quantised storage": tensor((1,), (1,), 0, storage(4, "0", "torch.QInt8Storage")),
        "a number for a storage": tensor((1,), (1,), 0, b"K\x01"),
        "text for an offset": called("torch._utils._rebuild_tensor", storage(), text("0"), tuple_of(1), tuple_of(1)),
        "bool for a size": called("torch._utils._rebuild_tensor", storage(), b"K\0", b"(\x88t", tuple_of(1)),
        "float for a size": called("torch._utils._rebuild_tensor", storage(), b"K\0", b"(G" + bytes(8) + b"t", b"(t"),
        "few arguments": called("torch._utils._rebuild_tensor_v2", storage()),
        "many arguments": called("torch.Size", *[b"N"] * 50),
        "odd metadata": called(
            "torch._utils._rebuild_tensor_v2", storage(), b"K\0))\x89N", b"}" + text("x") + b"Ns"
        ),
        "bytearray of a number": called("builtins.bytearray", integer(2**40)),
        "bytes of a number": called("builtins.bytes", integer(2**40)),
        "set of a number": called("builtins.set", integer(2**40)),
        "size of text": called("torch.Size", text("abc")),
        "encode by another codec": called("_codecs.encode", text("abc"), text("rot13")),
        "persistent id": b"K\x01Q",
        "persistent line": b"Pmodule\n",
        "short persistent id": b"(" + text("storage") + b"tQ",
        "text of absurd length": b"X\xff\xff\xff\xffabc",
        "text of more absurd length": b"\x8d" + b"\xff" * 8 + b"abc",
        "bytes of absurd length": b"\x8e" + b"\xff" * 7 + b"\x0fabc",
        "bytearray of absurd length": b"\x96" + b"\xff" * 7 + b"\x0fabc",
        "string of negative length": b"T\xff\xff\xff\xffabc",
        "integer of absurd length": b"\x8b\xff\xff\xff\x7fabc",
        "integer of negative length": b"\x8b\xff\xff\xff\xffabc",
        "integer of many digits": b"L" + b"9" * 60000 + b"L\n",
        "memo of absurd index": b"Nr\xff\xff\xff\xff0j\xff\xff\xff\x7f",
        "memo of many digits": b"Np" + b"9" * 60000 + b"\n",
        "memo never written": b"h\x07",
        "empty stack": b"0000",
        "call on an empty stack": b"R",
        "tuple of an empty stack": b"\x87",
        "no mark": b"t",
        "odd items": b"}(Nu",
        "odd items 2": b"}(NNNu",
        "marks left": b"(((N",
        "values left": b"NN",
        "unknown opcode": b"\xff",
        "protocol 99": b"\x80\x63N",
        "frame of absurd length": b"\x95" + b"\xff" * 8 + b"\xff",
        "out-of-band buffer": b"\x97",
        "unhashable key": b"}]Ns",
        "unhashable key in a tuple": b"}]\x85Ns",
        "tensor as key": b"}" + tensor((1,), (1,)) + b"Ns",
        "list that contains itself": b"]q\0h\0a",
        "dict that contains itself": b"}q\0" + text("x") + b"h\0s",
        "tuple that contains itself": b"]q\0h\0\x85a",
        "nested lists": b"]" * 5000 + b"a" * 4999,
        "nested tuples": b")" + b"\x85" * 100000,
        "nested dicts": b"}" * 1 + (b"K\x01}" * 3000) + b"s" * 3000,
        "nested, the inside first": b"](]q\1" + b"](h\1eq\1" * 3000 + b"e",
        "shared a billion times": b"]q\0" + b"".join(_repeated(i, 10) for i in range(10)),
        "shared a billion times, as key": b"K\x01\x85q\0" + b"".join(_paired(i) for i in range(99)) + b"0}hcNs",
        "shared tensors": b"](" + tensor((1000, 1000), (0, 0)) + b"q\0" + b"h\0" * 1000 + b"e",
        "copied many times": b"](" + b"K\1" * 20000 + b"eq\0(" + (named("builtins.set") + b"h\0\x85R") * 2000 + b"l",
        "many empty sets": b"\x8f" * 400_000,
        "many marks": b"(" * 400_000,
        "keys that collide": b"}(" + b"".join(integer((2**61 - 1) * i) + b"N" for i in range(1, 30000)) + b"u",
        "complex keys that collide": b"}(" + b"".join(_complex_key(i) for i in range(1, 5000)) + b"u",
        "text of half a pair": b"X\x03\0\0\0\xed\xa0\xff",
        "nothing": b"",
    }  # fmt: skip
    for name, body in bodies.items():
        yield f"bad {name}", P2 + body + b"."
    yield "bad without an end", P2 + b"N"


def _repeated(index: int, times: int) -> bytes:
    """A list that holds the one in the memo so many times, in place of it on the stack and next in the memo."""
    return b"0](" + b"h%c" % index * times + b"eq%c" % (index + 1)


def _paired(index: int) -> bytes:
    """A tuple that holds the one in the memo twice, in place of it on the stack and next in the memo."""
    return b"0h%ch%c\x86q%c" % (index, index, index + 1)


def _complex_key(number: int) -> bytes:
    """A complex key whose hash is 0, and its value."""
    return called("builtins.complex", integer(-1000003 * number), integer(number)) + b"N"


def in_containers(name: str, pickled: bytes) -> Files:
    """One pickle in every place where a file can hold one."""
    yield f"{name} zip", torch_zip(pickled, {"0": bytes(16)})
    storages = [("0", struct.pack("<q", 4) + bytes(16))] if text("cpu") in pickled else []
    yield f"{name} legacy", legacy(pickled.replace(b"tQ", b"NtQ"), storages)
    yield f"{name} legacy keys", legacy(P2 + b"N.", keys=pickled)
    yield f"{name} bare", pickled
    good = {
        "sys_info": P2 + b"N.",
        "storages": P2 + b"K\0." + P2 + b"].",
        "tensors": P2 + b"K\0.",
        "pickle": P2 + b"N.",
    }
    for member in ("pickle", "storages", "tensors"):
        yield f"{name} tar {member}", tar({**good, member: pickled})


def good_files() -> dict[str, bytes]:
    """A small file in each container, to be damaged."""
    rng = np.random.default_rng(7)
    arrays = {"w": rng.standard_normal((3, 4)).astype(np.float32), "n": np.arange(5)}
    state = OrderedDict((key, torch.from_numpy(value)) for key, value in arrays.items())
    files = {"tar": torch_tar(state), "safetensors": safetensors.numpy.save(arrays)}
    rich = {**state, "view": state["w"].t(), "list": [1, 2.5, "x", None], "p": torch.nn.Parameter(state["w"])}
    for name, options in (("zip", {}), ("legacy", {"_use_new_zipfile_serialization": False})):
        buffer = io.BytesIO()
        torch.save(rich, buffer, **options)
        files[name] = buffer.getvalue()
    torch.serialization.set_crc32_options(False)  # so that damage reaches what is behind the checksums
    try:
        buffer = io.BytesIO()
        torch.save(rich, buffer)
        files["zip without checksums"] = buffer.getvalue()
    finally:
        torch.serialization.set_crc32_options(True)
    for name, write in (("npz", np.savez), ("npz deflated", np.savez_compressed)):
        buffer = io.BytesIO()
        write(buffer, **arrays)
        files[name] = buffer.getvalue()
    return files


def damaged(count: int) -> Files:
    """Seeded bit flips (one to eight), truncations and overwritten bytes of a good file of each container."""
    rng = np.random.default_rng(11)
    for name, data in good_files().items():
        for number in range(count):
            flipped = np.frombuffer(data, np.uint8).copy()
            for place in rng.integers(0, len(data), rng.integers(1, 9)):
                flipped[place] ^= 1 << rng.integers(8)
            yield f"flipped {name} {number}", flipped.tobytes()
            yield f"cut {name} {number}", data[: int(rng.integers(0, len(data)))]
            begin, length = rng.integers(0, len(data)), rng.integers(1, 9)
            value = [0x00, 0xFF, 0x7F, 0x80][rng.integers(4)]
            yield f"overwritten {name} {number}", data[:begin] + bytes([value] * length) + data[begin + length :]


def bad_containers() -> Files:
    """Zip bombs, tar files and npz entries whose headers lie."""
    yield "empty", b""
    yield "text", b"this is not a file of weights\n" * 20
    yield "html", b"<!DOCTYPE html><html><body>404</body></html>"
    yield "zeros", bytes(100000)
    yield "short zip", b"PK\3\4"
    yield "end of a zip", b"PK\5\6" + b"\xff" * 18
    yield "other zip", _zip({"a/readme.txt": b"hello"})
    yield "two pickles", _zip({"a/data.pkl": P2 + b"N.", "b/data.pkl": P2 + b"N."})
    yield "compressed pickle", torch_zip(P2 + b"N." + b"]" * 10**6, method=zipfile.ZIP_DEFLATED)
    yield "other tar", tar({"readme": b"hello"})
    yield "odd byte order", torch_zip(P2 + b"N.", byteorder="middle")
    bomb = _zip({"x.npy": _npy("<f4", (25 * 10**6,)) + bytes(10**8)}, zipfile.ZIP_DEFLATED)
    yield "bomb", bomb
    yield "overlapping entries", _overlapping()
    array = {"x.npy": _npy("<f4", (4,)) + bytes(16)}
    yield "declared larger", _patched(_zip(array), 24, 2**31 - 1)
    yield "declared larger packed", _patched(_zip(array, zipfile.ZIP_DEFLATED), 24, 2**31 - 1)
    yield "declared in zip64", _patched(_zip(array), 24, 2**32 - 1)
    yield "encrypted", _patched(_zip(array), 8, 1, "<H")
    yield "an entry in two places", _patched(_zip({**array, "y.npy": array["x.npy"]}), 42, 0)
    yield "an entry outside", _patched(_zip(array), 42, 2**31)
    for name, header in {
        "huge shape": _npy("<f4", (2**60,)),
        "negative shape": _npy("<f4", (-4,)),
        "objects": _npy("|O", (4,)),
        "huge text": _npy("<U500000000", (1,)),
        "no text": _npy("<U0", (2**40,)),
        "records": b"\x93NUMPY\1\0\x36\0" + b"{'descr':[('a','f4')],'fortran_order':0,'shape':(4,)}".ljust(54),
        "code": b"\x93NUMPY\1\0\x40\0" + b"__import__('os').system('true')".ljust(64),
        "nested header": b"\x93NUMPY\2\0\0\xf0\0\0" + (b"(" * 30000 + b")" * 30000).ljust(0xF000),
        "minus signs": b"\x93NUMPY\2\0\0\xf0\0\0" + (b"-" * 60000 + b"1").ljust(0xF000),
        "huge header": b"\x93NUMPY\2\0\xff\xff\xff\xff",
        "unknown version": b"\x93NUMPY\x09\0\x36\0",
    }.items():
        yield f"npz {name}", _zip({"x.npy": header + bytes(16)})
        yield f"npz deflated {name}", _zip({"x.npy": header + bytes(16)}, zipfile.ZIP_DEFLATED)
    for count in (2**31, 2**62, -1):
        storages = P2 + integer(count) + b"."
        yield f"tar of {count} storages", tar({"pickle": P2 + b"N.", "tensors": P2 + b"K\0.", "storages": storages})
        one = P2 + b"K\1." + P2 + b"(K\1" + text("cpu") + named("torch.FloatStorage") + b"t." + struct.pack("<q", count)
        yield f"tar of a storage of {count}", tar({"pickle": P2 + b"N.", "tensors": P2 + b"K\0.", "storages": one})
        body = P2 + legacy_tensor(count)
        yield f"legacy storage of {count}", legacy(body, [("0", struct.pack("<q", count) + bytes(16))])
    yield "tar of itself", tar({"pickle": P2 + b"N."})[:512] * 3


def legacy_tensor(numel: int) -> bytes:
    """A pickle of a tensor of four elements, in the legacy container, of a storage that is said to have `numel`."""
    stored = b"(" + text("storage") + named("torch.FloatStorage") + text("0") + text("cpu") + integer(numel) + b"NtQ"
    return called("torch._utils._rebuild_tensor", stored, b"K\0", tuple_of(4), tuple_of(1)) + b"."


def _zip(entries: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def _npy(descr: str, shape: tuple[int, ...]) -> bytes:
    """The header of a .npy entry."""
    text = repr({"descr": descr, "fortran_order": False, "shape": shape}).encode().ljust(118)
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(text)) + text


def _patched(data: bytes, field: int, value: int, layout: str = "<L") -> bytes:
    """A zip file with one field of the last entry of its directory overwritten."""
    place = data.rfind(b"PK\1\2") + field
    return data[:place] + struct.pack(layout, value) + data[place + struct.calcsize(layout) :]


def _overlapping() -> bytes:
    """An entry that contains the other, header and all (Fifield, A better zip bomb, 2019)."""
    inner = _zip({"y.npy": _npy("<f4", (4,)) + bytes(16)})
    begin = inner.rfind(b"PK\1\2")
    outer = _zip({"x.npy": inner[:begin]})
    directory = outer.rfind(b"PK\1\2")
    second = _patched(inner, 42, outer.find(inner[:begin]))[begin : inner.rfind(b"PK\5\6")]
    entries = outer[directory : outer.rfind(b"PK\5\6")] + second
    return outer[:directory] + entries + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 2, 2, len(entries), directory, 0)
