"""Fixtures shared by all tests."""

import os
from pathlib import Path

import hypothesis
import numpy as np
import pytest

import minicnn

hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None, max_examples=60, database=None)
hypothesis.settings.load_profile("repeatable")


@pytest.fixture(params=["reference", "cpu"])
def backend(request):
    """Runs the test once on each backend."""
    with minicnn.backend(request.param):
        yield request.param


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
