"""minicnn bench: how fast, beside whom."""

import argparse
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from .options import names, whole
from .output import as_json, print_json


def add(commands: Any) -> None:
    from ..bench.runs import PEERS, WHAT

    parser = commands.add_parser(
        "bench", help="measure speed and memory beside other libraries",
        description="Times every operation on the layers of ResNet18 and of the small network, and whole training "
        "steps, in turns with PyTorch and, where it can, NumPy; with --model, compiled inference beside PyTorch, ONNX "
        "Runtime and OpenVINO. Each result is checked against float64 before it is timed. ratio: the time of the "
        "fastest peer by ours, above 1 minicnn is faster. Exit code 1 if a result is wrong.",
    )  # fmt: skip
    parser.add_argument(
        "what", metavar="WHAT", nargs="*", type=names(WHAT),
        help=f"{', '.join(WHAT)} (default: all of them, with --model none)",
    )  # fmt: skip
    parser.add_argument("--model", choices=("resnet18",), help="measure the inference of this model")
    parser.add_argument("--weights", metavar="FILE", help="weights of the model (default: random ones)")
    parser.add_argument(
        "--batch", type=whole(1), action="append", metavar="N",
        help="images at once; give it again for further sizes (default: 1, 8, 32; small network 1, 32, 128; "
        "a step of ResNet18 16)",
    )  # fmt: skip
    parser.add_argument(
        "--peers", type=names(PEERS), default=",".join(PEERS), metavar="LIST",
        help="of torch,onnxruntime,openvino, or none (default: all that are installed)",
    )  # fmt: skip
    parser.add_argument("--threads", type=whole(1), metavar="N", help="for everybody (default: all cores)")
    parser.add_argument("--image-size", type=whole(32), default=224, metavar="N", help="of ResNet18 (default: 224)")
    parser.add_argument("--quick", action="store_true", help="fewer sizes and turns: a first impression")
    parser.add_argument(
        "--empty-cache", action="store_true", help="compile everything anew: the column compile says how long it takes"
    )
    parser.add_argument(
        "--json", metavar="FILE", nargs="?", const="-", help="write all figures there; without FILE print them instead"
    )
    parser.add_argument("--plot", metavar="FILE", help="draw the ratios as a PNG (needs matplotlib)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from .. import get_num_threads
    from ..bench import report
    from ..bench.runs import measured

    for path in (args.json, args.plot):
        if path not in (None, "-") and not Path(path).parent.is_dir():
            raise ValueError(f"{path}: there is no such folder")
    if args.plot and find_spec("matplotlib") is None:
        raise ValueError("--plot needs matplotlib: pip install 'minicnn[plots]'")
    options = options_of(args, get_num_threads())
    records = []
    for record in measured(options, args.empty_cache):
        records.append(record)
        if args.json != "-":
            print(report.text(record), flush=True)
    rows = [record for record in records if record["kind"] == "row"]
    if args.json != "-" and rows:
        print("\n" + report.means_table(rows))
    if args.json:
        found = {"options": options._asdict(), "records": records, "means": report.means(rows)}
        if args.json == "-":
            print_json(found)
        else:
            Path(args.json).write_text(as_json(found) + "\n", encoding="utf-8")
    if args.plot:
        about = next(record for record in records if record["kind"] == "environment")
        Path(args.plot).write_bytes(report.plot(rows, f"{about['processor']}, {about['threads']} threads"))
    return 1 if any(record["kind"] == "wrong" for record in records) else 0


def options_of(args: argparse.Namespace, threads: int) -> Any:
    """What the measured process is told."""
    from ..backends.settings import max_threads
    from ..bench.runs import WHAT, Options

    if args.threads is not None and args.threads > max_threads():
        raise ValueError(f"--threads must be 1 to {max_threads()} (the cores of this machine), got {args.threads}")
    if args.weights and not args.model:
        raise ValueError("--weights: whose? Give --model too")
    return Options(
        what=[name for name in WHAT if name in ",".join(args.what).split(",")] or ([] if args.model else list(WHAT)),
        model=args.model,
        batches=args.batch,
        peers=[] if args.peers == "none" else args.peers.split(","),
        threads=args.threads or threads,
        quick=args.quick,
        image=args.image_size,
        weights=args.weights,
    )
