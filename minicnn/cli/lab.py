"""minicnn lab: mend a broken backward and see its gradient check turn green."""

import argparse
import contextlib
import sys
import textwrap
from typing import Any

from .options import add_json
from .output import print_json, table


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "lab", help="exercises: mend a broken backward",
        description="Exercises in backpropagation, in order of difficulty. Each is a piece of the reference backend "
        "with one thing wrong, as a file for you to mend, and the gradient check that finds it. Without a command: "
        "what there is, and how far you are.",
    )  # fmt: skip
    parser.add_argument("--dir", default="lab", metavar="DIR", help="where your files are (default: lab)")
    add_json(parser)
    parser.set_defaults(run=run, action=_list)
    actions = parser.add_subparsers(metavar="COMMAND", required=False, parser_class=type(parser))
    for name, action, text in (
        ("start", _start, "write the file of an exercise"),
        ("check", _check, "run its check on your file; exit code 1 while it is not solved"),
        ("hint", _hint, "one hint more"),
        ("solution", _solution, "the package's own code, as a difference, and why"),
    ):
        one = actions.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        one.add_argument("exercise", metavar="N", help="its number or name")
        one.add_argument("--dir", default=argparse.SUPPRESS, metavar="DIR", help="where your files are (default: lab)")
        one.set_defaults(action=action)
        if name == "start":
            one.add_argument("--force", action="store_true", help="replace a file that is there, with what you wrote")
        if name == "check":
            one.add_argument(
                "--json", action="store_true", default=argparse.SUPPRESS, help="print the figures as one JSON document"
            )


def run(args: argparse.Namespace) -> int:
    from ..lab import LabFolder

    return args.action(args, LabFolder(args.dir))


def _list(args: argparse.Namespace, folder: Any) -> int:
    from ..lab import EXERCISES

    states = [folder.state(exercise, number) for number, exercise in enumerate(EXERCISES, 1)]
    if args.json:
        numbered = enumerate(zip(EXERCISES, states), 1)
        print_json([{"number": i, "name": e.name, "title": e.title, "state": state} for i, (e, state) in numbered])
        return 0
    rows = [(str(i), e.name, state, e.title) for i, (e, state) in enumerate(zip(EXERCISES, states), 1)]
    print(table(("N", "name", "state", "what it is about"), rows, left=4))
    solved = states.count("solved")
    then = f"minicnn lab start {states.index('new') + 1}" if "new" in states else "minicnn lab check N"
    print(f"\n{solved} of {len(rows)} solved in {args.dir}; next: {then}")
    return 0


def _start(args: argparse.Namespace, folder: Any) -> int:
    number, exercise = _chosen(args.exercise)
    try:
        path = folder.start(exercise, number, args.force)
    except FileExistsError:
        raise ValueError(f"{folder.file(exercise, number)} is there already; --force replaces what you wrote") from None
    print(f"{path}: {exercise.title}\n\n{textwrap.fill(exercise.task, 100)}\n")
    print(f"Mend it, then: minicnn lab check {number}   (a hint: minicnn lab hint {number})")
    return 0


def _check(args: argparse.Namespace, folder: Any) -> int:
    from ..lab import check

    number, exercise = _chosen(args.exercise)
    path = folder.file(exercise, number)
    if not path.exists():
        raise ValueError(f"{path} is not there; begin with: minicnn lab start {number}")
    with contextlib.redirect_stdout(sys.stderr):  # what the reader's code prints
        result = check(exercise, path)
    if result:
        folder.passed(exercise, number)
    if args.json:
        report = result.report.to_dict() if result.report is not None else None
        print_json({"exercise": exercise.name, "solved": bool(result), "problem": result.problem, "report": report})
    else:
        if result.report is not None:
            print(f"{result.report}\n")
        print(textwrap.fill(f"Solved. {exercise.lesson}" if result else f"Not yet: {result.problem}", 100))
    return 0 if result else 1


def _hint(args: argparse.Namespace, folder: Any) -> int:
    number, exercise = _chosen(args.exercise)
    count = folder.next_hints(exercise)
    for i, hint in enumerate(exercise.hints[:count], 1):
        print(f"{i}. {hint}")
    left = len(exercise.hints) - count
    print(f"\n{left} more" if left else f"\nno more hints; there is minicnn lab solution {number}")
    return 0


def _solution(args: argparse.Namespace, folder: Any) -> int:
    from ..lab.source import difference, places

    number, exercise = _chosen(args.exercise)
    print(f"{difference(exercise, number)}\n\n{textwrap.fill(exercise.lesson, 100)}")
    print(f"\nThe package's own code: {', '.join(places(exercise))}")
    return 0


def _chosen(text: str) -> tuple[int, Any]:
    """(number, exercise) by number or name."""
    from ..lab import EXERCISES

    for number, exercise in enumerate(EXERCISES, 1):
        if text in (str(number), exercise.name):
            return number, exercise
    raise ValueError(f"there is no exercise {text[:40]!r}; there are 1 to {len(EXERCISES)} (see minicnn lab)")
