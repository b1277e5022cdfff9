"""Fixtures shared by all tests."""

import math
import os
from pathlib import Path

from gpu import GPU  # isort: skip  (first: it chooses the simulator before numba is imported)

import hypothesis
import numpy as np
import pytest

import minicnn
from minicnn import backends

hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None, max_examples=60, database=None)
hypothesis.settings.load_profile("repeatable")


SIMULATED_THREADS = 3000  # that a test may start in the simulator, which takes about a second; larger ones need a GPU


@pytest.fixture(params=["reference", "cpu", "cuda"])
def backend(request, monkeypatch):
    """Runs the test once on each backend; cuda without a GPU in numba-cuda's simulator, where the case is small."""
    reason = backends.why_missing(request.param)
    if reason:
        pytest.skip(reason)
    if request.param == "cuda" and not GPU:
        _limit_threads(monkeypatch)
    with minicnn.backend(request.param):
        yield request.param


def _limit_threads(monkeypatch):
    from minicnn.backends.cuda import launch

    simulate, started = launch._simulate, 0

    def counted(kernel, grid, block, args, shared):
        nonlocal started
        started += math.prod(grid) * math.prod(block)
        if started > SIMULATED_THREADS:
            pytest.skip("too large for the simulator: needs a GPU")
        simulate(kernel, grid, block, args, shared)

    monkeypatch.setattr(launch, "_simulate", counted)


@pytest.fixture
def rng():
    return np.random.default_rng(20240229)


@pytest.fixture
def data_root():
    """The folder of real data sets, named by MINICNN_DATA."""
    folder = os.environ.get("MINICNN_DATA")
    if not folder:
        pytest.skip("MINICNN_DATA is not set: it names the folder with mnist/, fashion-mnist/, weights/ …")
    if not Path(folder).is_dir():
        pytest.skip(f"MINICNN_DATA names {folder}, which is not a folder")
    return Path(folder)
