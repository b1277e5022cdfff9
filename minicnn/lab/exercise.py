"""What an exercise is: a piece of the reference backend with one thing wrong, and where it shows."""

from collections.abc import Callable
from typing import Any, NamedTuple


class Exercise(NamedTuple):
    """One broken piece of code. The sound one is the package's own; nothing of it is written down here twice."""

    name: str  # of the file, and what `minicnn lab start NAME` takes
    title: str
    task: str  # what the reader is told: what the code should do, not what is wrong with it
    parts: tuple[str, ...]  # "module.function" of minicnn.backends.reference, in the order they stand in the file
    there: str  # stands exactly once in the source of the parts
    bug: str  # what it becomes
    operation: str  # of minicnn.functional, or an optimiser of minicnn.optim
    inputs: Callable[[Any], tuple[Any, ...]]  # of a numpy Generator: the arguments that the check calls it with
    settings: dict[str, Any]  # further arguments by name
    hints: tuple[str, ...]  # shown one at a time
    lesson: str  # why the sound code is right, shown when it is mended, and with the solution

    @property
    def is_step(self) -> bool:
        """An optimiser: its steps are checked, not a gradient."""
        return self.operation[0].isupper()
