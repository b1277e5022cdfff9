"""What only a process of its own can tell: peak memory, and the time from its start to the first prediction.

    python -m minicnn.bench.children first WHO FOLDER THREADS IMAGE
    python -m minicnn.bench.children inference WHO FOLDER THREADS BATCH IMAGE
    python -m minicnn.bench.children memory WHO THREADS BATCH IMAGE

Each prints one line of JSON.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import numpy as np

from . import environment
from .harness import OURS

BATCHES = (8, 32)


def first_predictions(folder: Path, whos: Sequence[str], threads: int, image: int, rounds: int) -> list[dict[str, Any]]:
    """For each: seconds from process start to the first prediction (medians, in turns), peak memory, installed size."""
    times: dict[str, list[float]] = {who: [] for who in whos}
    memory: dict[str, int] = {}
    for _ in range(rounds):
        for who in whos:
            began = time.time()
            told = first_prediction(folder, who, threads, image)
            times[who].append(told["at"] - began)
            memory[who] = told["peak_bytes"]
    return [
        {
            "who": who, "seconds": float(np.median(times[who])), "peak_bytes": memory[who],
            **{f"peak_bytes_batch_{n}": inference_memory(folder, who, threads, n, image) for n in BATCHES},
            "installed_bytes": installed_bytes(who.split()[0]),
        }
        for who in whos
    ]  # fmt: skip


def first_prediction(folder: Path, who: str, threads: int, image: int) -> dict[str, Any]:
    """A process that predicts one image and ends: the time "at" which it had, and its "peak_bytes"."""
    return _child("first", who, str(folder), str(threads), str(image))


def inference_memory(folder: Path, who: str, threads: int, batch: int, image: int) -> int:
    """The most bytes that a process held which predicts so many images three times."""
    return _child("inference", who, str(folder), str(threads), str(batch), str(image))["peak_bytes"]


def training_memory(whos: Sequence[str], threads: int, batch: int, image: int) -> list[dict[str, Any]]:
    """For each: the peak memory of a process that trains ResNet18 three steps, and what it held before the first."""
    found = [{"who": who, **_child("memory", who, str(threads), str(batch), str(image))} for who in whos]
    return [{**each, "batch": batch, "image": image} for each in found]


def installed_bytes(package: str) -> int:
    """Bytes of the files of a distribution and of all that it requires."""
    seen: set[str] = set()
    waiting, total = [package], 0
    while waiting:
        name = waiting.pop().lower().replace("_", "-")
        if name in seen:
            continue
        seen.add(name)
        try:
            found = distribution(name)
        except PackageNotFoundError:  # for another system or Python
            continue
        waiting += [_name(line) for line in found.requires or [] if "extra ==" not in line]
        if name == "minicnn":  # its files lie elsewhere when it is installed in editable form
            home = Path(__file__).parent.parent
            total += sum(path.stat().st_size for path in home.rglob("*") if path.suffix != ".pyc" and path.is_file())
        else:
            paths = (Path(str(found.locate_file(file))) for file in found.files or [])
            total += sum(path.stat().st_size for path in paths if path.is_file())
    return total


def _name(requirement: str) -> str:
    """
    >>> _name("numba>=0.61; python_version > '3'")
    'numba'
    """
    end = next((i for i, letter in enumerate(requirement) if not (letter.isalnum() or letter in "-_.")), None)
    return requirement[:end]


def _child(*arguments: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "minicnn.bench.children", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise RuntimeError(f"{' '.join(arguments[:2])}: the process ended with code {done.returncode}: {last}")
    return json.loads(done.stdout.splitlines()[-1])


def _first(who: str, folder: str, threads: str, image: str) -> dict[str, Any]:
    _predict(who, folder, int(threads), 1, int(image), times=1)
    return {"at": time.time(), "peak_bytes": environment.peak_memory()}


def _inference(who: str, folder: str, threads: str, batch: str, image: str) -> dict[str, Any]:
    _predict(who, folder, int(threads), int(batch), int(image), times=3)
    return {"peak_bytes": environment.peak_memory()}


def _predict(who: str, folder: str, threads: int, batch: int, image: int, times: int) -> None:
    from . import engines

    x = np.ones((batch, 3, image, image), np.float32)
    predict = engines.load(who, Path(folder), threads, x.shape)
    for _ in range(times):
        predict(x)


def _memory(who: str, threads: str, batch: str, image: str) -> dict[str, Any]:
    side = int(image)
    images = np.random.default_rng(0).standard_normal((int(batch), 3, side, side), np.float32)
    target = np.random.default_rng(1).integers(0, 1000, int(batch))
    if who == OURS:
        from .. import models, set_num_threads
        from .steps import our_step

        set_num_threads(int(threads))
        step = our_step(models.resnet18(), images, target)
    else:
        from . import torch_peer
        from .steps import torch_step

        torch_peer.prepare(int(threads))
        step = torch_step(torch_peer.in_layout(torch_peer.resnet18(), who), images, target, who)
    before = environment.peak_memory()
    for _ in range(3):
        step()
    return {"peak_bytes": environment.peak_memory(), "before_bytes": before}


if __name__ == "__main__":
    kind, *rest = sys.argv[1:]
    kinds: dict[str, Callable[..., dict[str, Any]]] = {"first": _first, "inference": _inference, "memory": _memory}
    print(json.dumps(kinds[kind](*rest)))
