"""The check of an exercise: gradcheck, with the reader's functions in the place of the reference backend's."""

import copy
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .. import backends, functional, nn, optim
from ..inspect import Report, gradcheck
from .exercise import Exercise
from .source import names

Array = np.ndarray
Functions = dict[str, Callable[..., Any]]

SAME = 1e-9  # of the largest value: the reader may have summed in another order


@dataclass(frozen=True)
class Result:
    """What a check found. True if the exercise is solved."""

    report: Report | None  # of gradcheck; None for an optimiser
    problem: str  # the worst disagreement, with values; empty if there is none

    def __bool__(self) -> bool:
        return not self.problem


def check(exercise: Exercise, path: str | Path) -> Result:
    """Check the reader's file. It is run, as any Python file that you start yourself.

    First the gradient check; then the results are compared with the package's own, which shows what no gradient check
    can: a choice at a corner, and a forward that computes something else.
    `OSError` if it cannot be read, `ValueError` (one line, with the line number) for code that does not run.
    """
    path = Path(path)
    functions = functions_of(exercise, path)
    try:
        with np.errstate(all="ignore"):
            return _steps(exercise, functions) if exercise.is_step else _gradients(exercise, functions)
    except Exception as problem:  # whatever the reader's code raises
        raise ValueError(_where(problem, path)) from None


def functions_of(exercise: Exercise, path: Path) -> Functions:
    """What the file defines of the functions of the exercise."""
    namespace: dict[str, Any] = {"__name__": path.stem, "__file__": str(path)}
    try:
        text = path.read_text(encoding="utf-8")
        exec(compile(text, str(path), "exec"), namespace)
    except SyntaxError as problem:
        shown = f": {problem.text.strip()}" if problem.text else ""
        raise ValueError(f"{path}, line {problem.lineno}: syntax error, {problem.msg}{shown}") from None
    except OSError:
        raise
    except Exception as problem:
        raise ValueError(_where(problem, path)) from None
    for name in names(exercise):
        if not callable(namespace.get(name)):
            raise ValueError(f"{path}: the function {name} is missing; start again with --force, or write it")
    return {name: namespace[name] for name in names(exercise)}


@contextmanager
def in_place(functions: Functions) -> Iterator[None]:
    """Inside the block the reference backend is set and computes with these functions."""
    reference = backends.load("reference")
    # helpers that the backend does not list, and its own modules, stay as they are
    kept = {name: vars(reference)[name] for name in functions if callable(vars(reference).get(name))}
    try:
        for name in kept:
            setattr(reference, name, functions[name])
        with backends.backend("reference"):
            yield
    finally:
        for name, value in kept.items():
            setattr(reference, name, value)


def _gradients(exercise: Exercise, functions: Functions) -> Result:
    pair = getattr(functional, exercise.operation), getattr(functional, f"{exercise.operation}_backward")
    inputs = exercise.inputs(np.random.default_rng(0))
    with in_place(functions):
        report = gradcheck(pair, *copy.deepcopy(inputs), name=exercise.name, **exercise.settings)
        y, mine = _run(pair, inputs, exercise.settings)
    with in_place({}):
        expected, own = _run(pair, inputs, exercise.settings)
    arguments = [row.argument for row in report.rows]
    patterns = {name: pattern(a, b) for name, a, b in zip(arguments, mine, own, strict=True)}
    wrong = [row for row in report.rows if row.verdict == "real error"]
    fits = not any(row.difference_error > 1e-6 for row in report.rows)  # NaN beside NaN fits too
    if fits and not _same(y, expected):
        return Result(report, f"the gradients fit the forward, but it is another forward: {_at(y, expected, 'y')}")
    if wrong:
        row = max(wrong, key=lambda row: np.nan_to_num(row.difference_error, nan=np.inf))
        truth = f"finite differences say {row.finite_difference:.6g}"
        if row.explanation.startswith("PyTorch"):  # a corner: the differences straddle it
            truth += f", PyTorch {row.torch:.6g}"
        worst = f"the gradient of {row.argument} at {list(row.index)}: {truth}, your backward {row.backward:.6g}"
        return Result(report, f"{worst}. {patterns[row.argument]}")
    for name, gradient, right in zip(arguments, mine, own, strict=True):
        if not _same(gradient, right):
            place = _at(gradient, right, f"the gradient of {name}")
            return Result(report, f"either side of a corner would do, but the package chooses another: {place}")
    return Result(report, "")


def _run(pair: tuple[Any, Any], inputs: tuple[Any, ...], settings: dict[str, Any]) -> tuple[Array, list[Array]]:
    """y, and the gradients that there are, for a random dy."""
    y, ctx = pair[0](*copy.deepcopy(inputs), **settings)
    found = pair[1](np.random.default_rng(1).standard_normal(np.shape(y)), ctx)
    return np.asarray(y), [each for each in (found if isinstance(found, tuple) else (found,)) if each is not None]


def _steps(exercise: Exercise, functions: Functions) -> Result:
    """Some steps of an optimiser, beside those of the package."""
    start, gradients = exercise.inputs(np.random.default_rng(0))

    def trajectory() -> list[Array]:
        parameter = nn.Parameter(start.copy())
        optimizer = getattr(optim, exercise.operation)([parameter], **exercise.settings)
        points = []
        for gradient in gradients:
            parameter.grad = gradient.copy()
            optimizer.step()
            points.append(parameter.data.copy())
        return points

    with in_place(functions):
        mine = trajectory()
    with in_place({}):
        own = trajectory()
    for step, (found, expected) in enumerate(zip(mine, own, strict=True), 1):
        if not _same(found, expected):
            return Result(None, f"step {step} of {len(own)} goes elsewhere: {_at(found, expected, 'the parameter')}")
    return Result(None, "")


def pattern(found: Array, right: Array) -> str:
    """How the wrong entries are wrong, where a word says it.

    >>> pattern(np.array([1.0, 2.0, 4.0]), np.array([1.0, 4.0, 8.0]))
    '2 of 3 entries are wrong, each 0.5 times what it should be.'
    """
    wrong = ~np.isclose(found, right, rtol=SAME, atol=SAME * _largest(right))
    text = f"{int(wrong.sum())} of {wrong.size} entries are wrong"
    if not wrong.any():
        return text + " with another dy."
    with np.errstate(all="ignore"):
        ratios = found[wrong] / right[wrong]
    if np.all(found[wrong] == 0):
        return text + ", each 0."
    if np.isfinite(ratios).all() and np.ptp(ratios) < 1e-6 * abs(ratios[0]):
        return text + f", each {ratios[0]:.6g} times what it should be."
    return text + "."


def _same(found: Any, right: Any) -> bool:
    return found.shape == right.shape and bool(
        np.allclose(found, right, rtol=SAME, atol=SAME * _largest(right), equal_nan=True)
    )


def _at(found: Array, right: Array, what: str) -> str:
    """The values where they differ most."""
    if found.shape != right.shape:
        return f"{what} should have shape {right.shape}, yours has {found.shape}"
    distance = np.nan_to_num(np.abs(found - right), nan=np.inf)
    index = np.unravel_index(int(np.argmax(distance)), distance.shape)
    return f"{what} at {[int(i) for i in index]} should be {right[index]:.6g}, yours is {found[index]:.6g}"


def _largest(array: Array) -> float:
    return float(np.abs(array[np.isfinite(array)]).max(initial=0.0))


def _where(problem: Exception, path: Path) -> str:
    """The exception with the line of the reader's file that it comes from."""
    lines = [frame.lineno for frame in traceback.extract_tb(problem.__traceback__) if frame.filename == str(path)]
    place = f"{path}, line {lines[-1]}" if lines else str(path)
    text = " ".join(str(problem).split())
    return f"{place}: {type(problem).__name__}: {text}"[:390]
