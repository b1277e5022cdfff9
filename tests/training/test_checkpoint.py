"""Checkpoints: what goes in comes out to the bit, whole or not at all; damaged ones are told in one line."""

import os

import numpy as np
import pytest

from minicnn.files import write_whole
from minicnn.training import load_checkpoint, save_checkpoint
from minicnn.training.checkpoint import is_checkpoint

STATE = {
    "model": {"conv.weight": np.arange(12, dtype=np.float32).reshape(3, 2, 2).transpose(2, 0, 1), "n": np.array(7)},
    "optimizer": {"state": {0: {"step": 3, "buffer": np.full(2, 0.1)}, 1: {}}, "groups": [{"betas": (0.9, 0.999)}]},
    "random": {"state": 2**127 + 1, "name": "PCG64"},
    "scheduler": None,
    "flag": True,
    "scalar": np.float32(0.1),
    "rates": [0.1, float("nan"), float("inf"), -0.0],
    "empty": [np.empty((0, 3)), {}, [], ()],
    "array": {"array": "a dict that looks like a mark"},
}


def same(a, b):
    """Equal to the bit, of the same types."""
    if isinstance(a, np.ndarray):
        return isinstance(b, np.ndarray) and a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, dict):
        return isinstance(b, dict) and list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, np.generic):
        return a.item() == b
    return type(a) is type(b) and repr(a) == repr(b)


def test_round_trip(tmp_path):
    file = tmp_path / "state.safetensors"
    save_checkpoint(file, STATE)
    found = load_checkpoint(file)
    assert same(STATE, found)
    found["model"]["conv.weight"][0] = 1  # writable, an array of its own
    assert is_checkpoint(file)


def test_arrays_lie_under_their_names(tmp_path):
    """Another program that reads safetensors finds the weights by the model's names."""
    from safetensors.numpy import load_file

    file = tmp_path / "state.safetensors"
    save_checkpoint(file, STATE)
    np.testing.assert_array_equal(load_file(file)["model.conv.weight"], STATE["model"]["conv.weight"])


def test_what_has_no_form_is_refused_before_the_file_is_touched(tmp_path):
    file = tmp_path / "state.safetensors"
    save_checkpoint(file, {"a": 1})
    with pytest.raises(TypeError, match=r"a\.b is a set"):
        save_checkpoint(file, {"a": {"b": {1}}})
    assert load_checkpoint(file) == {"a": 1}


@pytest.mark.parametrize("cut", [0, 4, 100, -1])
def test_a_truncated_file_is_told_in_one_line(tmp_path, cut):
    file = tmp_path / "state.safetensors"
    save_checkpoint(file, STATE)
    file.write_bytes(file.read_bytes()[:cut])
    with pytest.raises(ValueError, match=r"state\.safetensors") as caught:
        load_checkpoint(file)
    assert "\n" not in str(caught.value)
    assert not is_checkpoint(file)


@pytest.mark.parametrize("header", ["", "[", '{"array": "missing"}', '{"dict": 3}', '{"other": 1}', '{"a": 1, "b": 2}'])
def test_a_damaged_header_is_told_in_one_line(tmp_path, header):
    from safetensors.numpy import save_file

    from minicnn.training.checkpoint import KIND

    file = tmp_path / "state.safetensors"
    save_file({}, file, metadata={"kind": KIND, "state": header})
    with pytest.raises(ValueError, match="damaged checkpoint"):
        load_checkpoint(file)


def test_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nothing\.safetensors: no such file"):
        load_checkpoint(tmp_path / "nothing.safetensors")


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    file = tmp_path / "state"
    write_whole(file, b"old")

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_whole(file, b"new")
    assert file.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["state"]


def test_a_written_file_has_the_permissions_of_any_other(tmp_path):
    plain = tmp_path / "plain"
    plain.write_bytes(b"")
    write_whole(tmp_path / "whole", b"")
    assert (tmp_path / "whole").stat().st_mode == plain.stat().st_mode
