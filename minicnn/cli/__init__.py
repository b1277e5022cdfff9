"""The command `minicnn`. One file a subcommand, each with `add(commands)` (its options) and `run(args)`.

main(argv) -> exit code     0 done, 1 the answer is no (a gradient check that fails, a run that diverges),
                            2 bad input, 130 Ctrl-C, 141 the reader of our output went away
"""

import argparse
import logging
import os
import sys
from collections.abc import Sequence

from .. import __version__
from . import (
    bench,
    convert,
    doctor,
    embed,
    evaluate,
    explain,
    finetune,
    gradcheck,
    lab,
    predict,
    similar,
    summary,
    train,
    warmup,
)
from .output import complain, plain_warnings

COMMANDS = (
    train,
    finetune,
    evaluate,
    predict,
    embed,
    similar,
    summary,
    explain,
    gradcheck,
    bench,
    lab,
    convert,
    warmup,
    doctor,
)


class _Parser(argparse.ArgumentParser):
    """argparse with errors of one line."""

    def error(self, message: str):
        self.exit(2, f"{self.prog}: {' '.join(message.split())} (see {self.prog} --help)\n")


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    top = _Parser(prog="minicnn", description="Convolutional networks written by hand: train, measure, look inside.")
    top.add_argument("--version", action="version", version=f"minicnn {__version__}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=_Parser)
    for command in COMMANDS:
        command.add(commands)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code. argv: what stands after `minicnn`; None takes it from the shell.

    >>> main(["train", "--epochs", "0"])  # prints: minicnn train: argument --epochs: ...
    2
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a class name or path that the terminal has no letters for
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # no advice on where its own cache should be
    name = "minicnn"
    try:
        try:
            args = parser().parse_args(argv)
            name = f"minicnn {args.command}"
            with plain_warnings(name):
                code = args.run(args)
        except SystemExit as end:  # --help, --version, or a bad option
            code = int(end.code or 0)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        return complain(name, "stopped", 130)
    except BrokenPipeError:  # minicnn … | head
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # so that Python's last flush is quiet too
        return 141
    except FloatingPointError as problem:
        return complain(name, problem, 1)
    except (ValueError, OSError, RuntimeError, IndexError, MemoryError) as problem:
        return complain(name, problem, 2)
