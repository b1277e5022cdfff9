"""minicnn embed: what a network sees in each photograph of a folder, as rows of numbers to compare."""

import argparse
import io
import json
from pathlib import Path
from typing import Any

import numpy as np

from .options import add_json, add_machine, use_machine
from .output import print_json
from .photos import UNKNOWN, Photos, check_photos, list_photos, with_progress
from .pretrained import Pretrained, open_pretrained

Array = np.ndarray
BATCH = 32


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "embed", help="write the features of a folder of images",
        description="The inputs of the last layer, 512 numbers an image in a ResNet, for every image of a folder, as "
        ".npz: features (N, 512), files (relative to the folder) and, where there are class folders, labels and "
        "classes. minicnn similar searches in it.",
    )  # fmt: skip
    parser.add_argument("--weights", metavar="FILE", required=True, help="of a ResNet, or a checkpoint or run folder")
    parser.add_argument("folder", metavar="DIR", help="images, or one folder of images a class")
    parser.add_argument("-o", "--output", metavar="FILE", help="the .npz to write (default: DIR.npz)")
    parser.add_argument("--force", action="store_true", help="write over a file that is there")
    add_machine(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from ..files import write_whole
    from ..training.features import collect

    use_machine(args)
    target = Path(args.output or f"{Path(args.folder).resolve().name}.npz")
    if target.suffix != ".npz":
        raise ValueError(f"--output {target}: the suffix must be .npz")
    if target.exists() and not args.force:
        raise FileExistsError(f"{target}: there is such a file already; --force writes over it")
    if not target.resolve().parent.is_dir():
        raise FileNotFoundError(f"{target.parent}: no such folder")
    subject = open_pretrained(args.weights)
    compute, key = embedder(subject)
    paths, names, classes = list_photos(args.folder, parts=False)
    check_photos(paths)
    labels = [classes.index(name) if classes else UNKNOWN for name in names]
    photos = Photos(paths, labels, subject.view)
    rows, targets = collect(compute, with_progress(photos.batches(BATCH), "embed"))
    root = Path(args.folder).expanduser()
    arrays = {
        "features": rows,
        "files": np.array([str(Path(path).relative_to(root)) for path in paths]),
        "labels": targets,
        "classes": np.array(classes, dtype=np.str_),
        "folder": np.array(str(root.resolve())),
        "weights": np.array(str(Path(args.weights).expanduser().resolve())),
        "key": np.array(key),
    }
    content = io.BytesIO()
    np.savez(content, **arrays)
    write_whole(target, content.getvalue())
    report = {"output": str(target), "images": len(paths), "features": rows.shape[1], "classes": len(classes)}
    if args.json:
        print_json(report)
    else:
        of = f" of {len(classes)} classes" if classes else ""
        print(f"{target}: {len(paths)} images{of}, {rows.shape[1]} features each")
    return 0


def embedder(subject: Pretrained) -> tuple[Any, str]:
    """(normalised images to features, what tells features of one network and view from those of another)."""
    import minicnn

    from ..training.features import backbone, fingerprint

    try:
        body = backbone(subject.model)
    except ValueError as problem:
        raise ValueError(f"{subject.path}: {problem}") from None
    view = {key: value for key, value in subject.view.as_dict().items() if key != "classes"}
    return minicnn.compile(body), fingerprint(body.state_dict(), [], json.dumps(view))
