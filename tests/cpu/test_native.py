"""Compiled inference without Numba: the same bits as with it, and Numba where the kept machine code will not do."""

import os
import subprocess
import sys

import numpy as np
import pytest

from minicnn.backends.cpu import native
from minicnn.backends.cpu.places import cache_folder

pytestmark = pytest.mark.skipif(not native.usable(), reason="no OpenMP pool, or compiling is switched off")

PREDICT = """
import sys
import numpy as np, minicnn
from minicnn import nn
minicnn.manual_seed(0)
model = nn.Sequential(
    nn.Conv2d(3, 16, 5, stride=2, padding=2), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(3, 2, 1),
    nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 7),
)
x = np.random.default_rng(0).standard_normal((3, 3, 64, 64)).astype(np.float32)
predict = minicnn.compile(model, x.shape)
y = predict(x)
"""
REPORT = "print(y.tobytes().hex(), 'numba' in sys.modules)"


def run(code, cache, **variables):
    environment = {**os.environ, "MINICNN_CACHE_DIR": str(cache), **variables}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split(), done.stderr


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """A cache folder with the kernels of PREDICT, and the bits of its result as Numba's functions compute them."""
    folder = tmp_path_factory.mktemp("kernels")
    (bits, numba), _ = run(PREDICT + REPORT, folder)
    assert numba == "True"
    return folder, bits


def kept(folder):
    return sorted(folder.rglob("*.native"))


def test_a_second_process_does_without_numba_and_gives_the_same_bits(cache):
    folder, bits = cache
    assert len(kept(folder)) == 6
    assert run(PREDICT + REPORT, folder)[0] == [bits, "False"]


def test_one_thread_gives_the_same_bits(cache):
    folder, bits = cache
    code = PREDICT.replace("minicnn.manual_seed(0)", "minicnn.manual_seed(0)\nminicnn.set_num_threads(1)")
    assert run(code + REPORT, folder)[0] == [bits, "False"]


def test_numba_may_come_later(cache):
    """A training step after a prediction, and predictions again, on other numbers of threads in between."""
    folder, bits = cache
    later = """
most = minicnn.get_num_threads()
minicnn.set_num_threads(1)
assert np.array_equal(predict(x), y)
model.backward(np.ones_like(model(x)))
minicnn.set_num_threads(most)
assert np.array_equal(predict(x), y) and all(p.grad is not None for p in model.parameters())
import numba
assert numba.get_num_threads() == most
"""
    assert run(PREDICT + later + REPORT, folder)[0] == [bits, "True"]


def test_numba_may_come_first(cache):
    folder, bits = cache
    first = "import numba\nassert numba.njit(lambda a: a + 1)(1) == 2\n"
    assert run(first + PREDICT + REPORT, folder)[0] == [bits, "True"]


def test_a_chosen_threading_layer_is_numbas(cache):
    folder, bits = cache
    assert run(PREDICT + REPORT, folder, NUMBA_THREADING_LAYER="workqueue")[0] == [bits, "True"]


@pytest.mark.parametrize("damage", ["flipped", "cut", "empty", "missing", "calls what is not there"])
def test_what_cannot_be_used_is_compiled_again(cache, damage, tmp_path):
    folder, bits = cache
    for path in folder.rglob("*"):
        if path.is_file():
            copy = tmp_path / path.relative_to(folder)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
    victim = next(path for path in kept(tmp_path) if "max_pool" in path.name)
    content = bytearray(victim.read_bytes())
    if damage == "flipped":
        content[len(content) // 2] ^= 1
    elif damage == "calls what is not there":
        from minicnn.backends.cpu.places import write_checked

        body = bytes(content[32:]).replace(b'"needs": [', b'"needs": ["numba_no_such_function", ', 1)
        write_checked(victim, body)
    if damage == "missing":
        victim.unlink()
    elif damage != "calls what is not there":
        victim.write_bytes({"flipped": content, "cut": content[:-100], "empty": b""}[damage])
    assert run(PREDICT + REPORT, tmp_path)[0] == [bits, "True"]
    if damage != "calls what is not there":
        assert run(PREDICT + REPORT, tmp_path)[0] == [bits, "False"]  # it was written anew


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_cache_is_used(cache):
    folder, bits = cache
    inner = next(folder.iterdir())
    inner.chmod(0o500)
    try:
        assert run(PREDICT + REPORT, folder)[0] == [bits, "False"]
    finally:
        inner.chmod(0o700)


def test_kernels_of_another_dtype_are_files_of_their_own(cache):
    folder, _ = cache
    code = PREDICT.replace("predict =", "model.astype(np.float64); x = x.astype(np.float64); predict =")
    for numba in ("True", "False"):
        (bits, loaded), _ = run(code + REPORT, folder)
        assert loaded == numba
    assert np.frombuffer(bytes.fromhex(bits)).shape == (21,)


def test_the_folder_is_named_without_numba():
    script = "import sys; from minicnn.backends.cpu.places import cache_folder as f; print(f(), 'numba' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=os.environ)
    assert done.stdout.split() == [str(cache_folder()), "False"]
