"""`save`: a flat dict of arrays to a file, whole or not at all."""

import os
import stat
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

_SAFETENSORS_DTYPES = (
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "float32", "float64",
    "complex64",
)  # fmt: skip
_NPZ_KINDS = "biufcSU"  # numbers, bools and fixed-length strings
_LONGEST_KEY = 2**15  # bytes; a zip file holds up to 2**16 − 1


def save(state: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
    """Write a flat dict of arrays to a `.safetensors` or `.npz` file; the suffix decides.

    state: arrays (or NumPy scalars) by name, of any layout. `.safetensors` takes bools, integers, float16 to float64
    and complex64; `.npz` also complex128 and strings. path: an existing file is replaced at once when the new one is
    complete, and keeps its permissions; if anything fails it stays as it was, and nothing is left beside it.

    `ValueError` for another suffix or a name that the format cannot hold, `TypeError` for anything but names and
    arrays, both before the disk is touched; `OSError` if the file cannot be written.

    >>> import minicnn, numpy as np, os, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     minicnn.save({"bias": np.zeros(3)}, os.path.join(folder, "weights.safetensors"))
    ...     os.listdir(folder)
    ['weights.safetensors']
    """
    name = os.fspath(path)
    if not isinstance(name, str):
        raise TypeError(f"save: path must be a str or a path of one, got {type(path).__name__}")
    suffix = os.path.splitext(name)[1].lower()
    if suffix not in (".safetensors", ".npz"):
        raise ValueError(f"save: path must end in .safetensors or .npz, got {ascii(name)[-150:]}")
    arrays = _checked(state, suffix)
    with _replacing(name) as temporary:
        _write_safetensors(arrays, temporary) if suffix == ".safetensors" else _write_npz(arrays, temporary)


def _checked(state: Mapping[str, Any], suffix: str) -> dict[str, np.ndarray]:
    """The arrays, C-contiguous and in native byte order, if the format can hold all of them."""
    if not isinstance(state, Mapping):
        raise TypeError(f"save: state must be a dict of arrays, got {type(state).__name__}")
    for key, value in state.items():
        if not isinstance(key, str):
            raise TypeError(f"save: the keys of state must be strings, got {type(key).__name__}")
        shown = ascii(key[:60])
        if not isinstance(value, (np.ndarray, np.generic)):
            raise TypeError(f"save: state[{shown}] must be an array, got {type(value).__name__}")
        dtype = np.asarray(value).dtype
        if not (dtype.name in _SAFETENSORS_DTYPES if suffix == ".safetensors" else dtype.kind in _NPZ_KINDS):
            raise TypeError(f"save: state[{shown}] is of {str(dtype)[:80]}, which {suffix} files do not hold")
        try:
            length = len(key.encode("utf-8"))
        except UnicodeEncodeError:
            raise ValueError(f"save: the key {shown} is not valid Unicode") from None
        if length > _LONGEST_KEY or "\0" in key or (key == "__metadata__" and suffix == ".safetensors"):
            raise ValueError(f"save: the key {shown} ({length} bytes) is not one that {suffix} files can hold")
    # asarray, not ascontiguousarray, which makes a 0-d array 1-d; non-native bytes are swapped
    return {key: np.asarray(value, np.asarray(value).dtype.newbyteorder("="), "C") for key, value in state.items()}


@contextmanager
def _replacing(name: str) -> Iterator[str]:
    """The name of a new file beside `name`, which takes its place if the block ends well, and is removed if not."""
    target = os.path.realpath(name)  # a symbolic link goes on pointing at its file
    folder, base = os.path.split(target)
    temporary = os.path.join(folder, f".{base[:100]}.{os.getpid()}-{os.urandom(4).hex()}")
    # 0o666 without the bits of umask, as for any file that is opened to be written
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        mode = os.stat(target if os.path.exists(target) else descriptor).st_mode
        os.close(descriptor)
        yield temporary
        os.chmod(temporary, stat.S_IMODE(mode))  # last: safetensors puts a new file in its place, for the user alone
        _flush(temporary, os.O_RDWR)
        os.replace(temporary, target)
    except BaseException:
        os.unlink(temporary)
        raise
    if os.name == "posix":
        _flush(folder, os.O_RDONLY)  # the name in the folder is on disk, too


def _flush(name: str, mode: int) -> None:
    """Wait until a file or folder is on disk."""
    descriptor = os.open(name, mode)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_safetensors(arrays: dict[str, np.ndarray], name: str) -> None:
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    try:
        save_file(arrays, name)
    except SafetensorError as error:  # the library wraps a full disk and the like
        raise OSError(f"save: {ascii(str(error))[:200]}") from error


def _write_npz(arrays: dict[str, np.ndarray], name: str) -> None:
    with zipfile.ZipFile(name, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        for key, array in arrays.items():
            # a date of 1980 for each: the same arrays give the same bytes
            with archive.open(zipfile.ZipInfo(f"{key}.npy"), "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, array, allow_pickle=False)
