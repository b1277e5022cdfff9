"""Finding and reading the published files: whatever a damaged header says, no more is read than the file can hold."""

import gzip
import os
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from . import check

LARGEST = 1 << 29  # bytes that a gzipped file may unpack to: three times the largest that is read here
DEFLATE_RATIO = 1032  # no gzip file unpacks to more than this many times its size (zlib, "Technical Details")
CHUNK = 1 << 20


def folder_of(where: str, root: str | os.PathLike, subfolders: Sequence[str]) -> list[Path]:
    """The folders to look in: the usual subfolders of root first, then root itself."""
    if not isinstance(root, (str, os.PathLike)):
        raise TypeError(f"{where}: root must be a path, got {check.describe(root)}")
    base = Path(root).expanduser()
    if base.exists() and not base.is_dir():
        raise NotADirectoryError(f"{where}: root {str(base)!r} is a file; it must be the folder with the files")
    return [base / subfolder for subfolder in subfolders] + [base]


def find(folder: Path, names: Sequence[str]) -> Path | None:
    """The first of these files in the folder, as it is or gzipped."""
    for name in names:
        for candidate in (folder / name, folder / f"{name}.gz"):
            if candidate.is_file():
                return candidate
    return None


class Reader:
    """Reads a file, gzipped or not (told by its first bytes), and says of what is wrong with it in one line.

    With a plain file `limit` is its size, with a gzipped one the most that it can unpack to.
    """

    def __init__(self, path: Path):
        self.path = path
        size = path.stat().st_size
        if size == 0:
            raise self.wrong("is empty")
        self._file: BinaryIO = open(path, "rb")  # noqa: SIM115 (closed in __exit__)
        packed = self._file.read(2) == b"\x1f\x8b"
        self._file.seek(0)
        self._stream = gzip.GzipFile(fileobj=self._file) if packed else self._file
        self.limit = min(LARGEST, size * DEFLATE_RATIO) if packed else size

    def __enter__(self) -> "Reader":
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def wrong(self, what: str) -> ValueError:
        """The error to raise: one line that names the file."""
        return ValueError(f"{self.path} {what}")

    def read(self, count: int) -> bytearray:
        """Up to `count` bytes, fewer only at the end of the file. Memory grows with what is read, not with `count`."""
        body = bytearray()
        try:
            while len(body) < count and (part := self._stream.read(min(count - len(body), CHUNK))):
                body += part
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise self.wrong(f"is damaged: {error}") from None
        return body

    def read_all(self, count: int, meaning: str) -> bytearray:
        """Exactly the `count` bytes that must be left; `meaning` says what they are."""
        if count > self.limit:
            raise self.wrong(f"is damaged: its header tells of {meaning}, more than the file can hold")
        body = self.read(count + 1)  # one more, to see that nothing follows; it also makes gzip check its sum
        if len(body) != count:
            came = f"{len(body)} bytes" if len(body) < count else "more"
            raise self.wrong(f"has the wrong length: {meaning} take {count} bytes, the file has {came}")
        return body
