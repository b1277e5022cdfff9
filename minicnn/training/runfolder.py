"""The folder that a training run leaves behind."""

import json
import os
from pathlib import Path
from typing import Any

from ..files import write_whole
from .checkpoint import load_checkpoint, save_checkpoint
from .history import History

LAST, BEST = "last.safetensors", "best.safetensors"


class RunFolder:
    """last.safetensors and best.safetensors (checkpoints), history.csv, settings.json and, with matplotlib, pictures.

    Each file is written whole or not at all, so that the folder can be resumed from after a crash at any moment.
    """

    def __init__(self, path: str | os.PathLike):
        self.path = Path(path)

    @classmethod
    def new(cls, path: str | os.PathLike | None, name: str) -> "RunFolder":
        """Make the folder; without a path `runs/<name>-<number>`, the first number that is free.

        `FileExistsError` if the path holds a run already, `OSError` if it cannot be made or written to.
        """
        if path is not None:
            folder = cls(path)
            folder.path.mkdir(parents=True, exist_ok=True)
            if folder.last.exists():
                raise FileExistsError(f"{folder.path} holds a run already: resume it or name another folder")
            return folder
        number = 1
        while True:
            folder = cls(Path("runs") / f"{name}-{number}")
            try:
                folder.path.mkdir(parents=True)
                return folder
            except FileExistsError:
                number += 1

    @property
    def last(self) -> Path:
        return self.path / LAST

    @property
    def best(self) -> Path:
        return self.path / BEST

    def save(self, state: dict[str, Any], is_best: bool) -> None:
        """Write the checkpoint(s) and the history. The best goes first: a crash in between only repeats the epoch."""
        if is_best:
            save_checkpoint(self.best, state)
        save_checkpoint(self.last, state)
        self.write("history.csv", History(state["history"]).csv().encode())

    def tidy(self) -> None:
        """Remove what a process that was killed while it wrote has left."""
        for part in self.path.glob(".*.part"):
            part.unlink(missing_ok=True)

    def write(self, name: str, content: bytes) -> None:
        write_whole(self.path / name, content)

    def write_json(self, name: str, value: Any) -> None:
        self.write(name, (json.dumps(value, indent=2) + "\n").encode())


def find_checkpoint(path: str | os.PathLike, prefer: str = BEST) -> Path:
    """A checkpoint file from what a user names: the file, or a run folder (its best, or `prefer`)."""
    path = Path(path)
    if path.is_dir():
        if not (path / prefer).is_file():
            raise FileNotFoundError(f"{path}: a folder without {prefer}, so not of a run that has trained")
        return path / prefer
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file or folder")
    return path


def load_run(path: str | os.PathLike, prefer: str = BEST) -> dict[str, Any]:
    """The checkpoint of a file or run folder."""
    return load_checkpoint(find_checkpoint(path, prefer))
