"""Text, tables and JSON for the terminal. Plain ASCII, so that it prints everywhere."""

import json
import math
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any


def complain(command: str, problem: object, code: int) -> int:
    """One line on standard error; returns the exit code."""
    text = describe(problem) if isinstance(problem, BaseException) else str(problem)
    print(f"{command}: {' '.join(text.split())}", file=sys.stderr, flush=True)
    return code


@contextmanager
def plain_warnings(command: str) -> Iterator[None]:
    """Inside, a warning is one line on standard error, without Python's file names and source lines."""

    def show(message: object, *rest: Any, **more: Any) -> None:
        print(f"{command}: {' '.join(str(message).split())}", file=sys.stderr, flush=True)

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield


def describe(problem: BaseException) -> str:
    """What an exception says, without Python's dress."""
    if isinstance(problem, OSError) and problem.strerror:
        return f"{problem.filename}: {problem.strerror}" if problem.filename else problem.strerror
    return str(problem) or type(problem).__name__


def print_json(value: Any) -> None:
    """One JSON document on standard output; NaN and infinities, for which JSON has no form, become null."""
    print(as_json(value))


def as_json(value: Any) -> str:
    return json.dumps(_finite(value), indent=2)


def table(header: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """Columns lined up; the first `left` of them to the left, the others, numbers, to the right.

    >>> print(table(("layer", "parameters"), [("conv1", "320"), ("fc", "34,000")]))
    layer  parameters
    conv1         320
    fc         34,000
    """
    lines = [header, *rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i < left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths))
        ).rstrip()
        for line in lines
    )  # fmt: skip


def percent(fraction: float) -> str:
    """
    >>> percent(0.98611)
    '98.61 %'
    """
    return "-" if math.isnan(fraction) else f"{100 * fraction:.2f} %"


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
