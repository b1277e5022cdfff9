"""The reader's folder: the files of the exercises, and how far each is."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from .exercise import Exercise
from .source import broken_file

NEW, OPEN, SOLVED = "new", "open", "solved"


class LabFolder:
    """A folder with a file for each exercise that was started, and `.progress.json`.

    An exercise counts as solved while its file is the one that passed the check.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def file(self, exercise: Exercise, number: int) -> Path:
        """Where the file of an exercise is, or will be."""
        return self.path / f"{number:02}_{exercise.name.replace('-', '_')}.py"

    def start(self, exercise: Exercise, number: int, force: bool = False) -> Path:
        """Write the broken file. `FileExistsError` where there is one, unless `force` says to replace it."""
        file = self.file(exercise, number)
        self.path.mkdir(parents=True, exist_ok=True)
        with open(file, "w" if force else "x", encoding="utf-8") as stream:
            stream.write(broken_file(exercise, number))
        return file

    def state(self, exercise: Exercise, number: int) -> str:
        """ "new": not started. "open": started. "solved": the check passed, and the file is still the same."""
        file = self.file(exercise, number)
        if not file.exists():
            return NEW
        passed = self._progress().get(exercise.name, {}).get("passed")
        return SOLVED if passed == _fingerprint(file) else OPEN

    def passed(self, exercise: Exercise, number: int) -> None:
        """Remember that the file as it is now passed its check."""
        self._note(exercise, passed=_fingerprint(self.file(exercise, number)))

    def next_hints(self, exercise: Exercise) -> int:
        """Reveal one more hint; returns how many are revealed now."""
        count = min(len(exercise.hints), int(self._progress().get(exercise.name, {}).get("hints", 0)) + 1)
        self._note(exercise, hints=count)
        return count

    def _progress(self) -> dict[str, Any]:
        file = self.path / ".progress.json"
        try:
            found = json.loads(file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except ValueError:
            found = None
        if not isinstance(found, dict) or not all(isinstance(each, dict) for each in found.values()):
            raise ValueError(f"{file}: not what minicnn lab wrote; remove it to begin anew")
        return found

    def _note(self, exercise: Exercise, **facts: Any) -> None:
        progress = self._progress()
        progress.setdefault(exercise.name, {}).update(facts)
        self.path.mkdir(parents=True, exist_ok=True)
        new = self.path / ".progress.json.new"
        new.write_text(json.dumps(progress, indent=1), encoding="utf-8")
        os.replace(new, self.path / ".progress.json")


def _fingerprint(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
