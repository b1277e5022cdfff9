"""`minicnn.load` of safetensors and npz files, against the libraries that define them."""

import json
import struct

import numpy as np
import pytest
import safetensors.numpy
import safetensors.torch
import torch
from test_load_torch import assert_own

import minicnn

DTYPES = [
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "float32", "float64",
    "complex64", "complex128",
]  # fmt: skip


def arrays(rng):
    """An array of every dtype and of several shapes."""
    shapes = [(), (0,), (3,), (2, 0, 4), (2, 3, 4)]
    state = {f"x{i}": np.asarray(rng.integers(0, 99, shape), "f4") for i, shape in enumerate(shapes)}
    return state | {dtype: rng.integers(0, 2, (3, 5)).astype(dtype) for dtype in DTYPES}


def test_safetensors(tmp_path, rng):
    state = {key: value for key, value in arrays(rng).items() if key != "complex128"}
    safetensors.numpy.save_file(state, tmp_path / "a.bin", metadata={"format": "np"})
    result = minicnn.load(tmp_path / "a.bin")
    assert result.keys() == state.keys()
    for key, value in state.items():
        assert_own(result[key], value)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2], ids=str)
def test_safetensors_kinds_that_numpy_lacks(tmp_path, dtype):
    tensor = torch.arange(256).byte().view(dtype)
    safetensors.torch.save_file({"x": tensor}, tmp_path / "a.safetensors")
    assert_own(minicnn.load(tmp_path / "a.safetensors")["x"], tensor.float().numpy())


def test_safetensors_without_arrays(tmp_path):
    safetensors.numpy.save_file({}, tmp_path / "a.safetensors")
    assert minicnn.load(tmp_path / "a.safetensors") == {}


@pytest.mark.parametrize("write", [np.savez, np.savez_compressed])
def test_npz(tmp_path, rng, write):
    state = arrays(rng) | {"text": np.array(["ab", "ö"]), "bytes": np.array([b"xyz"]), "a/b.c": np.ones(2)}
    state |= {"fortran": np.asfortranarray(rng.standard_normal((4, 5, 6))), "big": np.arange(300000)}
    state |= {"other order": np.arange(5).astype(">i4"), "none": np.empty((0, 3), "U5")}
    write(tmp_path / "a.npz", **state)
    (tmp_path / "a.npz").rename(tmp_path / "a.pth")
    result = minicnn.load(tmp_path / "a.pth")
    assert result.keys() == state.keys()
    for key, value in state.items():
        assert_own(result[key], value.astype(value.dtype.newbyteorder("=")))


def test_npz_without_arrays(tmp_path):
    np.savez(tmp_path / "a.npz")
    assert minicnn.load(tmp_path / "a.npz") == {}


def test_zip64(tmp_path):
    """A directory with all its sizes in 64 bits, as it is written when a file passes 4 GiB."""
    x = np.arange(5.0)
    np.savez(tmp_path / "a.npz", x=x)
    data = (tmp_path / "a.npz").read_bytes()
    begin, end = data.rfind(b"PK\1\2"), data.rfind(b"PK\5\6")
    entry = bytearray(data[begin:end])
    packed, nbytes = struct.unpack_from("<2L", entry, 20)
    entry[20:28] = b"\xff" * 8
    entry[42:46] = b"\xff" * 4
    extra = struct.pack("<2H", 9, 4) + b"skip" + struct.pack("<2H3Q", 1, 24, nbytes, packed, 0)
    entry[30:32] = struct.pack("<H", len(extra))
    directory = bytes(entry) + extra
    place = begin + len(directory)
    end64 = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, 1, 1, len(directory), begin)
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, place, 1)
    record = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    (tmp_path / "a.npz").write_bytes(data[:begin] + directory + end64 + locator + record)
    np.testing.assert_array_equal(np.load(tmp_path / "a.npz")["x"], x)
    assert_own(minicnn.load(tmp_path / "a.npz")["x"], x)


def test_npz_of_objects_is_unsafe(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.array([1, None], object))
    with pytest.raises(minicnn.UnsafeFileError, match="objects"):
        minicnn.load(tmp_path / "a.npz")


def test_npz_of_records_is_refused(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.zeros(2, [("a", "f4")]))
    with pytest.raises(ValueError, match="structured"):
        minicnn.load(tmp_path / "a.npz")


def safetensors_bytes(header, data=b"", length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + data


F32 = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
BAD_SAFETENSORS = {
    "hole": safetensors_bytes({"a": {**F32, "data_offsets": [8, 16]}}, bytes(16)),
    "overlap": safetensors_bytes({"a": F32, "b": {**F32, "data_offsets": [4, 12]}}, bytes(12)),
    "short": safetensors_bytes({"a": F32}, bytes(7)),
    "long": safetensors_bytes({"a": F32}, bytes(9)),
    "shape": safetensors_bytes({"a": {**F32, "shape": [3]}}, bytes(8)),
    "negative": safetensors_bytes({"a": {**F32, "shape": [-1, -2]}}, bytes(8)),
    "huge": safetensors_bytes({"a": {**F32, "shape": [2**61, 8, 0]}}, bytes(8)),
    "backwards": safetensors_bytes({"a": {**F32, "data_offsets": [8, 0]}}, bytes(8)),
    "floats": safetensors_bytes({"a": {**F32, "shape": [2.0]}}, bytes(8)),
    "dtype": safetensors_bytes({"a": {**F32, "dtype": "F99"}}, bytes(8)),
    "twice": safetensors_bytes(b'{"a": %b, "a": %b}' % ((json.dumps(F32).encode(),) * 2), bytes(8)),
    "no dict": safetensors_bytes({"a": [1]}),
    "nested": safetensors_bytes(b'{"a":' + b"[" * 100000 + b"]" * 100000 + b"}"),
    "not JSON": safetensors_bytes(b"{nonsense}"),
    "not text": safetensors_bytes(b"{\xff\xfe}"),
    "long number": safetensors_bytes(b'{"a":' + b"9" * 10000 + b"}"),
}


@pytest.mark.parametrize("name", BAD_SAFETENSORS)
def test_bad_safetensors(tmp_path, name):
    (tmp_path / "bad.bin").write_bytes(BAD_SAFETENSORS[name])
    with pytest.raises(ValueError, match=r"bad\.bin") as caught:
        minicnn.load(tmp_path / "bad.bin")
    assert len(str(caught.value)) < 400
