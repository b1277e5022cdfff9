"""Which vectors and tile a processor gets, and the kernels with those of processors that are not here."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from llvmlite import binding
from llvmlite.binding.targets import FeatureMap

from minicnn.backends.cpu import processor
from minicnn.backends.cpu.algorithms import COMPILED

X86, ARM, MAC = "x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu", "arm64-apple-darwin24.0.0"
ZEN4 = {"sse2": True, "avx": True, "avx2": True, "fma": True, "avx512f": True}
ZEN3 = {**ZEN4, "avx512f": False}
VARIABLES = "NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES", "NUMBA_ENABLE_AVX"


@pytest.mark.parametrize(
    ("found", "triple", "variables", "tile"),
    [
        (ZEN4, X86, {}, (64, 8, 3)),
        (ZEN4, X86, {"NUMBA_CPU_NAME": "znver4"}, (64, 8, 3)),
        (ZEN4, X86, {"NUMBA_CPU_NAME": "haswell"}, (32, 4, 3)),
        (ZEN4, X86, {"NUMBA_CPU_NAME": "generic"}, (16, 4, 2)),
        (ZEN4, X86, {"NUMBA_ENABLE_AVX": "0"}, (16, 4, 2)),
        (ZEN4, X86, {"NUMBA_CPU_FEATURES": "+avx,+avx2,+fma"}, (32, 4, 3)),
        (ZEN3, X86, {}, (32, 4, 3)),
        (ZEN3, X86, {"NUMBA_CPU_NAME": "znver4"}, (32, 4, 3)),  # Numba leaves out what the host has not
        (ZEN3, X86, {"NUMBA_CPU_NAME": "znver4", "NUMBA_CPU_FEATURES": "+fma,+avx2,+avx512f"}, (64, 8, 3)),
        ({**ZEN3, "fma": False}, X86, {}, (16, 4, 2)),
        ({"neon": True}, ARM, {}, (16, 8, 3)),
        ({}, MAC, {}, (16, 8, 3)),
        ({"neon": True}, ARM, {"NUMBA_CPU_NAME": "generic"}, (16, 8, 3)),
    ],
)
def test_tile(found, triple, variables, tile, monkeypatch):
    monkeypatch.setattr(binding, "get_host_cpu_features", lambda: FeatureMap(found))
    monkeypatch.setattr(binding, "get_process_triple", lambda: triple)
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert processor._tile() == tile


# Chooses the tile as if on another processor; what LLVM compiles for stays the host.
PRETEND = """
import sys
import pytest
from llvmlite import binding
from llvmlite.binding.targets import FeatureMap
host = binding.get_host_cpu_features, binding.get_process_triple
binding.get_host_cpu_features, binding.get_process_triple = lambda: FeatureMap({found}), lambda: {triple!r}
from minicnn.backends.cpu.processor import VECTOR_BYTES, MR, NV, ADDRESSED_MR, ADDRESSED_NV
binding.get_host_cpu_features, binding.get_process_triple = host
assert (VECTOR_BYTES, MR, NV, ADDRESSED_MR, ADDRESSED_NV) == {tile}
sys.exit(pytest.main(sys.argv[1:]))
"""
TESTS = "test_addressed.py", "test_gemm.py", "test_prepared.py", "test_winograd.py"


@pytest.mark.skipif(not COMPILED, reason="without the compiler there are no vectors")
@pytest.mark.parametrize(
    ("found", "triple", "tile"),
    [(ZEN4, X86, (64, 8, 3, 8, 2)), (ZEN3, X86, (32, 4, 3, 6, 2)), ({}, MAC, (16, 8, 3, 8, 2))],
    ids=["AVX-512", "AVX2", "NEON"],
)
def test_kernels_with_the_tile_of_another_processor(found, triple, tile, tmp_path):
    """The tests of the kernels once more. LLVM cuts wide vectors into those of the host: the same lanes and masks."""
    if tile[:3] == (processor.VECTOR_BYTES, processor.MR, processor.NV):
        pytest.skip("the tile of this processor, which all other tests see")
    environment = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    environment["MINICNN_CACHE_DIR"] = str(tmp_path)
    script = PRETEND.format(found=found, triple=triple, tile=tile)
    options = "-p", "no:cacheprovider", "-p", "no:xdist", "-k", "not direct and not layers_of_resnet18"
    here = Path(__file__).parent
    command = sys.executable, "-c", script, *options, *(str(here / name) for name in TESTS)
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
