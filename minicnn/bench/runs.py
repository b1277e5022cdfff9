"""What the measured process does, and how it is started.

It is a process of its own because variables of the environment that slow a peer down are read when that peer is loaded.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from .harness import OURS, QUICK, THOROUGH, Case, Effort, measure

WHAT = ("gemm", "conv", "ops", "step")
PEERS = ("torch", "onnxruntime", "openvino")
MEMORY_BATCH = 16


class Options(NamedTuple):
    """What to measure. All of it goes to the measured process as JSON."""

    what: list[str]  # of WHAT
    model: str | None = None  # "resnet18": its inference
    batches: list[int] | None = None  # None: 1, 8, 32 for ResNet18, 1, 32, 128 for the small network, 16 for its step
    peers: tuple[str, ...] = PEERS
    threads: int = 1
    quick: bool = False  # fewer sizes and turns
    image: int = 224  # side of ResNet18's images
    small_image: int = 28  # side of the small network's
    weights: str | None = None  # a file of ResNet18's; None: random ones


def measured(options: Options, empty_cache: bool = False) -> Iterator[dict[str, Any]]:
    """The records of a measured process, as they come. `RuntimeError` with its message if it fails.

    empty_cache: with a cache folder of its own, so that "compile" is the time of compiling.
    """
    from . import environment

    variables = environment.clean(dict(os.environ), options.threads)
    for note in environment.removed(dict(os.environ)).values():
        yield {"kind": "note", "text": note}
    with tempfile.TemporaryDirectory(prefix="minicnn-bench-") as folder:
        if empty_cache:
            variables["MINICNN_CACHE_DIR"] = folder
        command = [sys.executable, "-m", "minicnn.bench", json.dumps(options._asdict())]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=variables) as process:
            for line in process.stdout or ():
                record = json.loads(line)
                if record["kind"] == "error":
                    raise RuntimeError(record["text"])
                yield record
        if process.returncode:
            raise RuntimeError(f"bench: the measured process ended with code {process.returncode}")


def records(options: Options) -> Iterator[dict[str, Any]]:
    """Everything that the options ask for, as dicts with a "kind".

    environment, peaks     once, at the beginning
    note                   "text", one line
    row                    the figures of a case, see `measure`
    wrong                  "text": a case whose result is wrong, and which was not timed
    memory, first          of a training step, of the first prediction: see `children`
    """
    import minicnn

    from . import engines, environment, torch_peer
    from .peak import peaks

    minicnn.set_num_threads(options.threads)
    peers = []
    for peer in options.peers:
        reason = engines.missing(peer)
        if reason is None:
            peers.append(peer)
        elif peer == "torch" or options.model:
            yield {"kind": "note", "text": reason}
    if "torch" in peers:
        torch_peer.prepare(options.threads)
    yield {"kind": "environment", **environment.describe(options.threads)}
    limits = peaks(options.threads, rounds=3 if options.quick else 7)
    yield {"kind": "peaks", "GFLOP/s": limits["GFLOP/s"], "GB/s": limits["GB/s"]}
    effort = QUICK if options.quick else THOROUGH
    for case in cases(options, peers):
        yield _figures(case, limits, effort)
        del case  # its arrays, before the next are made
    if options.model:
        yield from _network(options, peers, limits)
    if "step" in options.what:
        yield from _memory(options, peers)


def _figures(case: Case, limits: dict[str, float], effort: Effort) -> dict[str, Any]:
    try:
        return {"kind": "row", **measure(case, limits, effort)}
    except ArithmeticError as problem:
        return {"kind": "wrong", "text": str(problem)}


def cases(options: Options, peers: list[str]) -> Iterator[Case]:
    """Matrix products, convolutions, the other operations, optimisers and training steps."""
    from . import operations, steps

    batches = options.batches or ([1] if options.quick else list(operations.RESNET_BATCHES))
    small = options.batches or ([1] if options.quick else list(operations.SMALL_BATCHES))
    if "gemm" in options.what:
        for operation in operations.matrix_products((256, 512) if options.quick else (256, 512, 1024, 2048)):
            yield from operations.cases_of(operation, peers)
    if "conv" in options.what:
        for layers, sizes in (
            (operations.resnet_convolutions(options.image), batches),
            (operations.small_convolutions(options.small_image), small),
        ):
            for operation in operations.convolutions(layers, sizes):
                yield from operations.cases_of(operation, peers)
    if "ops" in options.what:
        for operation in operations.other_operations(options.image, options.small_image, batches, small):
            yield from operations.cases_of(operation, peers)
        for network in list(steps.NETWORKS)[: 1 if options.quick else None]:
            for name in steps.OPTIMIZERS:
                yield steps.optimizer_step(name, network, options.small_image, peers)
    if "step" in options.what:
        for batch in small:
            yield steps.training_step("SimpleCNN", options.small_image, batch, peers)
        for batch in options.batches or [2 if options.quick else MEMORY_BATCH]:
            yield steps.training_step("ResNet18", options.image, batch, peers)


def _network(options: Options, peers: list[str], limits: dict[str, float]) -> Iterator[dict[str, Any]]:
    """Inference of ResNet18: latency and throughput, then each in processes of its own."""
    from .. import load
    from . import children, engines, network

    batches = options.batches or ([1] if options.quick else [1, 8, 32])
    with tempfile.TemporaryDirectory(prefix="minicnn-bench-") as name:
        folder = Path(name)
        state = load(options.weights) if options.weights else None
        engines.write_weights(folder, peers, state)
        effort = QUICK if options.quick else THOROUGH
        for batch in batches:
            case = network.prediction(folder, batch, options.image, peers, options.threads)
            yield _figures(case, limits, effort)
        rounds = 1 if options.quick else 3
        whos = network.contestants(peers)
        for found in children.first_predictions(folder, whos, options.threads, options.image, rounds):
            yield {"kind": "first", **found}


def _memory(options: Options, peers: list[str]) -> Iterator[dict[str, Any]]:
    """Peak memory of a training step of ResNet18."""
    from . import children, torch_peer

    whos = [OURS, *((torch_peer.NCHW, torch_peer.CHANNELS_LAST) if "torch" in peers else ())]
    batch = options.batches[-1] if options.batches else 2 if options.quick else MEMORY_BATCH
    for found in children.training_memory(whos, options.threads, batch, options.image):
        yield {"kind": "memory", **found}
