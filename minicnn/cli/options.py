"""Options that several commands share, and the types of option values."""

import argparse
import math
from collections.abc import Callable

from ..backends.settings import BACKENDS

MODELS = ("simple_cnn", "resnet18", "resnet34")
DATA_SETS = ("digits", "mnist", "fashion-mnist", "cifar10")


def add_data(parser: argparse.ArgumentParser, default: str | None = None) -> None:
    """--data, --root"""
    parser.add_argument(
        "--data", metavar="SET", default=default,
        help=f"{', '.join(DATA_SETS)}, or a folder of images: one folder a class, or train/ and val/ with those",
    )  # fmt: skip
    parser.add_argument(
        "--root", metavar="DIR", default=None,
        help="where the published files are, and are downloaded to if they are not (default: $MINICNN_DATA or ./data)",
    )  # fmt: skip


def add_machine(parser: argparse.ArgumentParser) -> None:
    """--backend, --threads"""
    parser.add_argument("--backend", choices=BACKENDS, default=None, help="who computes (default: cpu)")
    parser.add_argument(
        "--threads", type=whole(1), metavar="N", default=None,
        help="on how many threads (default: all cores); the result is the same to the bit on any number",
    )  # fmt: skip


def add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print the figures as one JSON document")


def use_machine(args: argparse.Namespace) -> None:
    """Set what add_machine asked for."""
    import minicnn

    if args.backend is not None:
        minicnn.set_backend(args.backend)
    if args.threads is not None:
        minicnn.set_num_threads(args.threads)


def whole(least: int) -> Callable[[str], int]:
    """A whole number of at least `least`."""

    def parse(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"must be a whole number, got {text[:40]!r}") from None
        if not least <= number < 2**31:
            raise argparse.ArgumentTypeError(f"must be {least} to {2**31 - 1}, got {text[:40]}")
        return number

    return parse


def real(least: float, below: float = math.inf, open_low: bool = False) -> Callable[[str], float]:
    """A finite number of at least (open_low: above) `least` and below `below`."""
    wanted = f"{'above' if open_low else 'at least'} {least:g}" + ("" if below == math.inf else f" and below {below:g}")

    def parse(text: str) -> float:
        try:
            number = float(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"must be a number, got {text[:40]!r}") from None
        if not (least <= number < below) or (open_low and number == least):
            raise argparse.ArgumentTypeError(f"must be {wanted}, got {text[:40]}")
        return number

    return parse


def names(allowed: tuple[str, ...]) -> Callable[[str], str]:
    """A list of these names with commas between, or "none"; returned in the order of `allowed`."""

    def parse(text: str) -> str:
        chosen = [] if text == "none" else text.split(",")
        for name in chosen:
            if name not in allowed:
                raise argparse.ArgumentTypeError(f"must be none or of {', '.join(allowed)}; got {name[:40]!r}")
        return ",".join(name for name in allowed if name in chosen) or "none"

    return parse
