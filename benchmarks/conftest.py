"""Options of the benchmarks, and how they are timed: after a warm-up, without the garbage collector."""

import os

os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "20")  # else NumPy's idle threads spin while others are timed

import pytest

import minicnn
from minicnn.bench import environment, torch_peer
from minicnn.bench.engines import missing
from minicnn.bench.operations import RESNET_BATCHES, SMALL_BATCHES


def pytest_addoption(parser):
    parser.addoption("--image-size", type=int, default=224, help="side of ResNet18's images")
    parser.addoption("--small-image-size", type=int, default=28, help="side of the small network's images")
    parser.addoption("--batch", type=int, action="append", help="a batch size (default: 1, 8, 32, and 1, 32, 128)")


def pytest_configure(config):
    config.option.benchmark_disable_gc = True
    config.option.benchmark_warmup = True
    config.sizes = {
        "image": config.getoption("--image-size"), "small_image": config.getoption("--small-image-size"),
        "batches": tuple(config.getoption("--batch") or RESNET_BATCHES),
        "small_batches": tuple(config.getoption("--batch") or SMALL_BATCHES),
        "step_batches": tuple(config.getoption("--batch") or [16]),
    }  # fmt: skip
    if missing("torch") is None:
        torch_peer.prepare(minicnn.get_num_threads())


def pytest_report_header(config):
    found = environment.describe(minicnn.get_num_threads())
    versions = ", ".join(f"{name} {number}" for name, number in found["versions"].items())
    slow = [f"{name} is set and slows {who} down: unset it" for name, who in environment.SLOW_PEERS.items()
            if name in os.environ]  # fmt: skip
    return [f"{found['processor']}, {found['threads']} threads", versions, *slow]


def pytest_generate_tests(metafunc):
    """A test that takes `subject` runs for each contestant of what subjects(sizes) of its module gives."""
    if "subject" in metafunc.fixturenames:
        metafunc.parametrize("subject", [
            pytest.param((who, *make), id=f"{name}, {who}")
            for name, whos, *make in metafunc.module.subjects(metafunc.config.sizes) for who in whos
        ])  # fmt: skip
