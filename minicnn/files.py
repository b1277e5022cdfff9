"""Writing a file whole or not at all."""

import contextlib
import os
import tempfile
from pathlib import Path


def write_whole(path: str | os.PathLike, content: bytes) -> None:
    """Write aside, to the disk, then rename: whoever looks finds the old file or the new one, never a part.

    That holds for a process killed at any moment and, where the file system keeps its word, for a power cut.
    `OSError` if it cannot be written; the old file is then untouched.
    """
    path = Path(path)
    handle, aside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(aside, 0o666 & ~_umask())  # mkstemp makes it private
        os.replace(aside, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(aside)
        raise
    _sync_folder(path.parent)


def _umask() -> int:
    """The mask of this process, which can only be read by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _sync_folder(folder: Path) -> None:
    """Put the new name on the disk too; not every system lets a folder be opened."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
