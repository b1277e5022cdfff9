"""`minicnn.save`: whole or not at all."""

import os
import stat

import numpy as np
import pytest
import safetensors.numpy
from test_load_arrays import arrays
from test_load_torch import assert_own

import minicnn
from minicnn.weights import saving


@pytest.fixture(params=[".safetensors", ".npz"])
def suffix(request):
    return request.param


def test_what_is_saved_is_loaded(tmp_path, rng, suffix):
    state = {key: value for key, value in arrays(rng).items() if key != "complex128" or suffix == ".npz"}
    base = rng.standard_normal((4, 6, 5))
    state |= {"transposed": base.T, "strided": base[::2, 1:, ::-1], "big endian": np.arange(4).astype(">i2")}
    state |= {"scalar": np.float32(2.5), "file": base, "": np.ones(1), "ä/../b.npy": np.ones(2)}
    minicnn.save(state, tmp_path / f"a{suffix}")
    result = minicnn.load(tmp_path / f"a{suffix}")
    assert set(result) == set(state)
    for key, value in state.items():
        assert_own(result[key], np.asarray(value, np.asarray(value).dtype.newbyteorder("=")))
    assert os.listdir(tmp_path) == [f"a{suffix}"]


def test_the_libraries_read_it(tmp_path, rng):
    state = {"a": rng.standard_normal((3, 4)).T, "b": np.arange(3)}
    minicnn.save(state, tmp_path / "a.safetensors")
    minicnn.save(state, str(tmp_path / "a.NPZ"))
    for result in (safetensors.numpy.load_file(tmp_path / "a.safetensors"), np.load(tmp_path / "a.NPZ")):
        for key, value in state.items():
            np.testing.assert_array_equal(result[key], value)


def test_the_same_arrays_give_the_same_bytes(tmp_path, suffix):
    for name in ("a", "b"):
        minicnn.save({"x": np.ones(3)}, tmp_path / f"{name}{suffix}")
    assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()


def test_permissions(tmp_path, suffix):
    before = os.umask(0o027)
    try:
        minicnn.save({"x": np.ones(3)}, tmp_path / f"a{suffix}")
        assert stat.S_IMODE(os.stat(tmp_path / f"a{suffix}").st_mode) == 0o640
        os.chmod(tmp_path / f"a{suffix}", 0o604)
        minicnn.save({"x": np.ones(4)}, tmp_path / f"a{suffix}")
        assert stat.S_IMODE(os.stat(tmp_path / f"a{suffix}").st_mode) == 0o604
    finally:
        os.umask(before)


def test_a_symbolic_link_stays_one(tmp_path, suffix):
    (tmp_path / "folder").mkdir()
    (tmp_path / f"link{suffix}").symlink_to(tmp_path / "folder" / f"a{suffix}")
    minicnn.save({"x": np.ones(3)}, tmp_path / f"link{suffix}")
    assert (tmp_path / f"link{suffix}").is_symlink()
    assert os.listdir(tmp_path / "folder") == [f"a{suffix}"]


@pytest.mark.parametrize(
    ("state", "name", "error", "word"),
    [
        ({"x": np.ones(1)}, "a.pth", ValueError, "safetensors or .npz"),
        ({"x": np.ones(1)}, "npz", ValueError, "safetensors or .npz"),
        ([np.ones(1)], "a.npz", TypeError, "list"),
        ({1: np.ones(1)}, "a.npz", TypeError, "int"),
        ({"x": [1.0]}, "a.npz", TypeError, "'x'.*list"),
        ({"x": {"y": np.ones(1)}}, "a.npz", TypeError, "dict"),
        ({"x": np.array([None])}, "a.npz", TypeError, "object"),
        ({"x": np.array([None])}, "a.safetensors", TypeError, "object"),
        ({"x": np.zeros(1, "c16")}, "a.safetensors", TypeError, "complex128"),
        ({"x": np.zeros(1, "U3")}, "a.safetensors", TypeError, "U3"),
        ({"x": np.zeros(1, [("a", "f4")])}, "a.npz", TypeError, "'a'"),
        ({"x\0y": np.ones(1)}, "a.npz", ValueError, "x.*y"),
        ({"\ud800": np.ones(1)}, "a.safetensors", ValueError, "Unicode"),
        ({"x" * 40000: np.ones(1)}, "a.npz", ValueError, "40000"),
        ({"__metadata__": np.ones(1)}, "a.safetensors", ValueError, "__metadata__"),
    ],
)
def test_bad_calls_touch_nothing(tmp_path, state, name, error, word):
    with pytest.raises(error, match=word) as caught:
        minicnn.save(state, tmp_path / name)
    assert len(str(caught.value)) < 400
    assert "\n" not in str(caught.value)
    assert os.listdir(tmp_path) == []


def test_a_failure_leaves_the_old_file(tmp_path, suffix, monkeypatch):
    path = tmp_path / f"a{suffix}"
    minicnn.save({"x": np.ones(3)}, path)

    def fails(arrays, name):
        with open(name, "wb") as file:
            file.write(b"half")
        raise OSError("the disk is full")

    monkeypatch.setattr(saving, "_write_npz", fails)
    monkeypatch.setattr(saving, "_write_safetensors", fails)
    with pytest.raises(OSError, match="full"):
        minicnn.save({"x": np.zeros(3)}, path)
    np.testing.assert_array_equal(minicnn.load(path)["x"], np.ones(3))
    assert os.listdir(tmp_path) == [path.name]


def test_unwritable_places(tmp_path, suffix):
    with pytest.raises(OSError, match="missing"):
        minicnn.save({"x": np.ones(1)}, tmp_path / "missing" / f"a{suffix}")
    (tmp_path / f"folder{suffix}").mkdir()
    with pytest.raises(OSError, match="folder"):
        minicnn.save({"x": np.ones(1)}, tmp_path / f"folder{suffix}")
    assert os.listdir(tmp_path) == [f"folder{suffix}"]
