"""minicnn convert: weights from one file format into another."""

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from .output import table

SUFFIXES = (".safetensors", ".npz")


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "convert", help="change the format of a weight file",
        description="Read weights (.pth, .pt, .safetensors, .npz, or the model in a checkpoint of minicnn train) and "
        "write them as .safetensors or .npz. Nothing in the file is run.",
    )  # fmt: skip
    parser.add_argument("source", metavar="IN")
    parser.add_argument("target", metavar="OUT", help="its suffix, .safetensors or .npz, says the format")
    parser.add_argument("--list", action="store_true", help="print names, dtypes and shapes")
    parser.add_argument("--force", action="store_true", help="write over a file that is there")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from .. import save

    target = Path(args.target)
    if target.suffix not in SUFFIXES:
        raise ValueError(f"{target}: the suffix must be {' or '.join(SUFFIXES)}")
    if target.exists() and not args.force:
        raise FileExistsError(f"{target}: there is such a file already; --force writes over it")
    arrays = state_dict_of(args.source)
    save(arrays, target)
    if args.list:
        print(table(("name", "dtype", "shape"), [(k, str(v.dtype), str(v.shape)) for k, v in arrays.items()], left=3))
    print(f"{target}: {len(arrays)} arrays, {sum(array.size for array in arrays.values()):,} values")
    return 0


def state_dict_of(source: str) -> dict[str, np.ndarray]:
    """The flat dict of arrays in a weight file; `ValueError`, naming the file, if it holds something else."""
    from .. import load
    from ..training.checkpoint import is_checkpoint, load_checkpoint

    if is_checkpoint(source):
        return load_checkpoint(source)["model"]
    found = load(source)
    for key in ("state_dict", "model"):  # what training scripts often wrap it in
        if isinstance(found, dict) and isinstance(found.get(key), dict):
            found = found[key]
    if not isinstance(found, dict) or not found:
        raise ValueError(f"{source}: holds a {type(found).__name__}, not a state dict")
    for name, value in found.items():
        if not isinstance(name, str) or not isinstance(value, np.ndarray):
            raise ValueError(f"{source}: {str(name)[:80]!r} is a {type(value).__name__}, not an array under a name")
    return found
