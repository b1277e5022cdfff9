"""What can be wrong with a file. `load` adds the name of the file to these messages."""

from typing import Any


class UnsafeFileError(ValueError):
    """The file names something that is neither plain data nor a dense tensor. Nothing of it was run or imported."""


class BadFileError(ValueError):
    """The file is damaged, or of a kind that is not read."""


def quoted(text: Any) -> str:
    """A string out of a file, escaped and cut, so that a message stays one short line of ASCII."""
    shown = ascii(text[:100]) if isinstance(text, (str, bytes)) else f"a {type(text).__name__}"
    return shown if len(shown) <= 80 else shown[:76] + "...'"
