"""The file of an exercise, made from the source of the reference backend with one exact change."""

import ast
import builtins
import difflib
import inspect
import textwrap
from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import Any

from .exercise import Exercise

_REFERENCE = "minicnn.backends.reference"


def broken_file(exercise: Exercise, number: int) -> str:
    """What `minicnn lab start` writes."""
    code = _code(exercise)
    if code.count(exercise.there) != 1:
        raise RuntimeError(f"exercise {exercise.name}: {exercise.there!r} stands {code.count(exercise.there)} times")
    return _header(exercise, number) + code.replace(exercise.there, exercise.bug)


def own_file(exercise: Exercise, number: int) -> str:
    """The same file with the package's own code."""
    return _header(exercise, number) + _code(exercise)


def difference(exercise: Exercise, number: int) -> str:
    """What a solution changes, as a unified diff."""
    lines = difflib.unified_diff(
        broken_file(exercise, number).splitlines(), own_file(exercise, number).splitlines(),
        "the exercise", "the package", n=2, lineterm="",
    )  # fmt: skip
    return "\n".join(lines)


def places(exercise: Exercise) -> list[str]:
    """The files of the package that the code is from."""
    return [f"minicnn/backends/reference/{name}.py" for name in _modules(exercise)]


def names(exercise: Exercise) -> list[str]:
    """The functions that the file defines."""
    return [part.rpartition(".")[2] for part in exercise.parts]


def _modules(exercise: Exercise) -> list[str]:
    return list(dict.fromkeys(part.partition(".")[0] for part in exercise.parts))


def _header(exercise: Exercise, number: int) -> str:
    """The task as a docstring, then the imports that the parts need."""
    return (
        f'"""Exercise {number}. {exercise.title}\n\n{textwrap.fill(exercise.task, 100)}\n\n'
        f"One place below differs from {' and '.join(places(exercise))}.\n"
        f"Find it, mend it, and look:\n\n    minicnn lab check {number}\n"
        f'"""\n\n{_imports(exercise)}\n\n\n'
    )


def _code(exercise: Exercise) -> str:
    return "\n\n".join(inspect.getsource(function) for function in _functions(exercise))


def _functions(exercise: Exercise) -> list[Callable[..., Any]]:
    found = []
    for part in exercise.parts:
        module, _, name = part.partition(".")
        found.append(getattr(import_module(f"{_REFERENCE}.{module}"), name))
    return found


def _imports(exercise: Exercise) -> str:
    """Import lines for what the parts use and do not define: other modules first, then the package's own functions."""
    modules: set[str] = set()
    own: dict[str, set[str]] = {}
    for function in _functions(exercise):
        home = import_module(function.__module__)
        for name in _free_names(inspect.getsource(function)) - set(names(exercise)):
            value = vars(home)[name]
            if isinstance(value, ModuleType):
                modules.add(f"import {value.__name__}" + (f" as {name}" if name != value.__name__ else ""))
            else:  # a constant has no home of its own
                own.setdefault(getattr(value, "__module__", home.__name__), set()).add(name)
    lines = [f"from {module} import {', '.join(sorted(used))}" for module, used in sorted(own.items())]
    return "\n".join(sorted(modules) + ([""] if modules and lines else []) + lines)


def _free_names(source: str) -> set[str]:
    """The global names that a function uses."""
    nodes = list(ast.walk(ast.parse(source)))
    read = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    bound = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    return read - bound - {node.arg for node in nodes if isinstance(node, ast.arg)} - set(dir(builtins))
