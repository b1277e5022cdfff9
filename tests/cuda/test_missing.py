"""What a machine without the backend's packages or without a GPU says."""

import os
import subprocess
import sys

import pytest
from gpu import GPU


def in_a_process(code, **environment):
    kept = {name: value for name, value in os.environ.items() if name != "NUMBA_ENABLE_CUDASIM"}
    return subprocess.run([sys.executable, "-c", code], env=kept | environment, capture_output=True, text=True)


@pytest.mark.skipif(GPU, reason="there is a GPU")
def test_without_a_gpu_one_sentence_says_what_is_missing():
    done = in_a_process("import minicnn; minicnn.set_backend('cuda')")
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].startswith("RuntimeError: the cuda backend needs ")


@pytest.mark.parametrize("package", ["numba_cuda", "cupy"])
def test_a_missing_package_is_named_with_the_extra_that_brings_it(package):
    hide = (
        f"import importlib.util as u; find = u.find_spec; u.find_spec = lambda n: None if n == {package!r} else find(n)"
    )
    done = in_a_process(f"{hide}; from minicnn import backends; print(backends.why_missing('cuda'))")
    assert "pip install 'minicnn[cuda13]'" in done.stdout
    assert len(done.stdout.splitlines()) == 1


def test_importing_minicnn_loads_nothing_of_cuda():
    code = (
        "import sys, numpy as np, minicnn; minicnn.functional.relu(np.ones(2)); "
        "print([m for m in ('cupy', 'minicnn.backends.cuda') if m in sys.modules])"
    )
    assert in_a_process(code).stdout.strip() == "[]"
