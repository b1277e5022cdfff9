"""`load`: one door for all formats. The format is told by the content, never by the name of the file."""

import errno
import os
import stat
from typing import Any

from .errors import BadFileError, UnsafeFileError
from .legacy import read_legacy
from .npz_file import read_npz
from .reader import Reader
from .safetensors_file import looks_like_safetensors, read_safetensors
from .tar_container import looks_like_tar, read_tar
from .zip_container import read_directory
from .zip_torch import read_torch_zip

Path = str | os.PathLike[str]


def load(path: Path) -> Any:
    """Read the weights in a file: PyTorch's `.pth`, `.pt` and `.th` in all three containers, `.safetensors` or `.npz`.

    path: of a plain file; the format is told by its content.

    Dicts, lists, tuples, sets, numbers, strings and bytes come as they were saved. Each tensor, `Parameter` or storage
    becomes a writable C-contiguous array of its own in native byte order, also where tensors shared memory; bfloat16
    and the 8-bit floats become float32, complex32 complex64, all exactly. A `torch.Size` becomes a tuple; dtypes,
    devices and layouts become strings ("torch.float32", "cpu"). Attributes of tensors and `_metadata` of a state
    dict are dropped.

    Nothing in the file is run or imported. `UnsafeFileError` (a `ValueError`) if it names anything that is neither
    plain data nor a dense tensor, such as the class of a whole saved module. `ValueError` if it is damaged, holds
    quantised, sparse or packed tensors or a TorchScript program, nests deeper than 200, or is of an unknown format;
    also if its arrays would take more than 8 times the size of the file plus 32 MiB (a small tensor expanded to a huge
    one). Checksums are verified where the container has them.
    `OSError` if it cannot be read. Each message names the file.

    >>> import minicnn, numpy as np, os, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "weights.npz")
    ...     minicnn.save({"fc.weight": np.eye(2, dtype=np.float32)}, path)
    ...     minicnn.load(path)
    {'fc.weight': array([[1., 0.],
           [0., 1.]], dtype=float32)}
    """
    name = os.fspath(path)
    if not isinstance(name, str):
        raise TypeError(f"load: path must be a str or a path of one, got {type(path).__name__}")
    shown = _shown(name)
    try:
        return _load(name)
    except UnsafeFileError as error:
        raise UnsafeFileError(f"load: {shown} is refused: {error}") from None
    except BadFileError as error:
        raise ValueError(f"load: {shown} cannot be read: {error}") from None
    except OSError as error:
        message = f"load: {shown} cannot be read: {error.strerror or error}"
        raise (OSError(message) if error.errno is None else OSError(error.errno, message)) from error
    except RecursionError:
        raise ValueError(f"load: {shown} cannot be read: it is nested too deep") from None
    except MemoryError:
        raise ValueError(f"load: {shown} cannot be read: its arrays need more memory than there is") from None
    except Exception as error:  # a hostile file found a way that no check foresaw: still a damaged file to the caller
        raise ValueError(f"load: {shown} cannot be read: it is damaged ({type(error).__name__})") from error


def _load(name: str) -> Any:
    if "\0" in name:
        raise BadFileError("a path has no null character")
    mode = os.stat(name).st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(mode):  # before opening: to open a pipe is to wait for its writer
        raise OSError("it is a pipe or a device, not a file")
    with open(name, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        reader = Reader(file, size)
        head = reader.bytes_at(0, min(size, 512))
        if head.startswith((b"PK\3\4", b"PK\5\6")):
            entries = read_directory(reader)
            if all(entry.endswith(".npy") for entry in entries):
                return read_npz(reader, entries)
            return read_torch_zip(reader, entries)
        if looks_like_safetensors(head, size):
            return read_safetensors(reader)
        if looks_like_tar(head):
            return read_tar(reader)
        return _load_legacy(reader, head)


def _load_legacy(reader: Reader, head: bytes) -> Any:
    """The legacy container has no signature but its first pickle, in any of five protocols."""
    if not head:
        raise BadFileError("it is empty")
    try:
        return read_legacy(reader)
    except UnsafeFileError:
        raise
    except BadFileError as error:
        if head[0] == 0x80:  # a pickle of protocol 2 or later
            raise
        raise BadFileError("its format is unknown: neither PyTorch's, nor safetensors, nor .npz") from error


def _shown(name: str) -> str:
    """The path for a message: escaped, and its beginning cut off if it is long."""
    text = ascii(name)
    return text if len(text) <= 160 else f"'...{text[-150:]}"
