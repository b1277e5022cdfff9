"""Every benchmark runs once on tiny sizes: that it is right, not that it is fast."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
SHARED = {"conftest.py", "harness.py"}
SCRIPTS = {
    "conv_layers.py": ["--only", "1x1/2 256", "--batch", "1", "--rounds", "1"],
    "sgemm.py": ["--rounds", "1"],
    "cuda.py": ["--only", "gemm"],
    "cuda_kernels.py": [],
}


def run(*arguments):
    """Standard output of a Python process, whose failure is the test's."""
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, cwd=BENCHMARKS.parent)
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def test_every_contestant_computes_the_same():
    """The whole of `pytest benchmarks`, each call once: ours and the peers' against float64."""
    pytest.importorskip("pytest_benchmark", reason="the benchmarks need it: pip install 'minicnn[bench]'")
    pytest.importorskip("torch", reason="it is the peer that every benchmark has")
    sizes = ["--image-size", "64", "--small-image-size", "12", "--batch", "2"]
    told = run("-m", "pytest", "benchmarks", "--benchmark-disable", "-p", "no:cacheprovider", "-p", "no:xdist", *sizes)
    assert "passed" in told
    assert "failed" not in told


def test_no_benchmark_is_forgotten():
    files = {path.name for path in BENCHMARKS.glob("*.py")} - SHARED
    assert {name for name in files if not name.startswith("test_")} == set(SCRIPTS)


@pytest.mark.parametrize("name", sorted(SCRIPTS))
def test_script(name):
    pytest.importorskip("torch", reason="the script compares with it")
    told = run(str(BENCHMARKS / name), *SCRIPTS[name])
    needs_gpu = name.startswith("cuda") and told.startswith("nothing is ") and told.count("\n") == 1
    assert "ratio" in told or "registers" in told or needs_gpu


def test_every_step_of_the_ladders_is_right():
    spec = importlib.util.spec_from_file_location("ladder_run", BENCHMARKS / "ladder" / "run.py")
    ladder = importlib.util.module_from_spec(spec)
    path = list(sys.path)
    try:
        spec.loader.exec_module(ladder)
        found = ladder.run(tiny=True)
    finally:
        sys.path[:] = path
    assert [line["step"][:6] for line in found] == [f"{kind}_{i}" for kind in ("gemm", "conv") for i in range(6)]
    assert all(line["error"] < 5e-6 for line in found)
