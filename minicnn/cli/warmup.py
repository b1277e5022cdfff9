"""minicnn warmup: compile the kernels ahead, so that nobody waits later."""

import argparse
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from .options import add_json
from .output import print_json


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "warmup", help="compile the kernels ahead",
        description="Run every operation, optimiser and model once, so that their kernels are compiled and kept in the "
        "cache folder (see minicnn doctor).",
    )  # fmt: skip
    parser.add_argument(
        "--dtype", choices=("float32", "float64", "both"), default="float32", help="default: float32, which models use"
    )
    add_json(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from tqdm import tqdm

    from ..backends import backend
    from ..backends.cpu.places import cache_folder

    began = time.perf_counter()
    dtypes = ("float32", "float64") if args.dtype == "both" else (args.dtype,)
    work = [task for dtype in dtypes for task in tasks(np.dtype(dtype))]
    with backend("cpu"), tqdm(work, unit="step", disable=not sys.stderr.isatty(), leave=False) as bar:
        for name, task in bar:
            bar.set_description(name)
            task()
    report = {
        "seconds": time.perf_counter() - began,
        "kernels": len(list(cache_folder().glob("*.kernel"))),
        "folder": str(cache_folder()),
    }
    if args.json:
        print_json(report)
    else:
        print(f"{report['kernels']} kernels in {report['folder']}, {report['seconds']:.1f} s")
    return 0


def tasks(dtype: np.dtype) -> list[tuple[str, Callable[[], None]]]:
    """(name, what to run) for every operation with its backward, every optimiser, and both kinds of model."""
    from ..inspect.catalogue import cases

    found = [
        (f"{name} {dtype}", lambda name=name, case=case: _operation(name, case, dtype))
        for name, list_ in cases(np.random.default_rng(0)).items()
        for case in list_
    ]
    for name in ("SGD", "Adam", "AdamW", "RMSprop"):
        found.append((f"SimpleCNN, {name} {dtype}", lambda name=name: _step("SimpleCNN", name, dtype)))
    found.append((f"ResNet18 {dtype}", lambda: _step("resnet18", "SGD", dtype)))
    found.append((f"compiled ResNet18 {dtype}", lambda: _predict(dtype)))
    return found


def _operation(name: str, case: Any, dtype: np.dtype) -> None:
    """One forward and backward of an operation on the inputs of its gradient check."""
    from .. import functional

    inputs = [_cast(value, dtype) for value in case.inputs]
    settings = {key: _cast(value, dtype) for key, value in case.settings.items()}
    y, ctx = getattr(functional, name)(*inputs, **settings)
    getattr(functional, f"{name}_backward")(np.ones_like(y) if np.ndim(y) else 1.0, ctx)


def _step(model_name: str, optimizer_name: str, dtype: np.dtype) -> None:
    """One training step and one evaluation."""
    from .. import models, nn, optim
    from ..training import Trainer

    model = getattr(models, model_name)().astype(dtype)
    optimizer = getattr(optim, optimizer_name)(model.parameters(), lr=1e-3)
    batch = np.zeros((2, 3, 32, 32), dtype), np.array([0, 1])
    Trainer(model, nn.CrossEntropyLoss(), optimizer).fit([batch], [batch])


def _predict(dtype: np.dtype) -> None:
    """One prediction of a compiled model: inference has kernels of its own."""
    from .. import compile, models

    model = models.resnet18(num_classes=2).astype(dtype)  # with weights: NumPy warns where memory holds a NaN by chance
    compile(model, (1, 3, 64, 64))(np.zeros((1, 3, 64, 64), dtype))


def _cast(value: Any, dtype: np.dtype) -> Any:
    if isinstance(value, (list, tuple)) and value and isinstance(value[0], np.ndarray):
        return [_cast(item, dtype) for item in value]
    return value.astype(dtype) if isinstance(value, np.ndarray) and value.dtype.kind == "f" else value
