"""The path through CuPy, as far as it can be run without a GPU: see double.py."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from gpu import GPU

PARTS = ["names", "arguments", "operations", "from_main_memory", "training", "waiting", "graphs", "refused", "leaks"]


@pytest.mark.skipif(GPU, reason="there is a GPU: test_gpu.py runs the path itself")
@pytest.mark.skipif(find_spec("cupy") is None, reason="needs CuPy: pip install 'minicnn[cuda13]'")
def test_the_path_through_cupy_asks_for_what_a_gpu_would_do():
    here = Path(__file__).parent
    kept = {name: value for name, value in os.environ.items() if name != "NUMBA_ENABLE_CUDASIM"}
    environment = kept | {"PYTHONPATH": str(here.parents[1])}
    child = subprocess.run(
        [sys.executable, str(here / "on_the_double.py")], env=environment, capture_output=True, text=True
    )
    assert child.stdout.split("\n")[:-1] == [f"done {part}" for part in PARTS], child.stderr[-4000:]
    assert child.returncode == 0
