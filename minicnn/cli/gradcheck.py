"""minicnn gradcheck: does every hand-written backward hold?"""

import argparse
from typing import Any

from .options import add_json, add_machine, use_machine, whole
from .output import print_json


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "gradcheck", help="check the hand-written gradients",
        description="For each operation: finite differences, the hand-written backward and, where it is installed, "
        "PyTorch, side by side. Each disagreement is explained. Exit code 1 if one is a real error.",
    )  # fmt: skip
    parser.add_argument("operations", metavar="OP", nargs="*", help="conv2d, max_pool2d, … (default: all)")
    parser.add_argument("--seed", type=whole(0), default=0, metavar="N", help="of the random inputs (default: 0)")
    add_machine(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from ..inspect import gradcheck_all, render

    use_machine(args)
    reports = gradcheck_all(args.operations, seed=args.seed)
    failed = [report.name for report in reports if not report]
    if args.json:
        print_json({"holds": not failed, "reports": [report.to_dict() for report in reports]})
    else:
        print(render(reports))
        print(f"\nwrong: {', '.join(failed)}" if failed else f"\nall {len(reports)} checks hold")
    return 1 if failed else 0
