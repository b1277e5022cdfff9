"""What decides the figures besides the code: the machine, versions, and variables that slow somebody down."""

import os
import platform
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

# Variables that hold a peer back from what it can do here. The measured process runs without them.
SLOW_PEERS = {
    "OPENBLAS_CORETYPE": "NumPy's OpenBLAS", "OPENBLAS_L2_SIZE": "NumPy's OpenBLAS",
    "OPENBLAS_NUM_THREADS": "NumPy's OpenBLAS", "OMP_NUM_THREADS": "every library with OpenMP",
    "MKL_NUM_THREADS": "MKL in torch", "MKL_ENABLE_INSTRUCTIONS": "MKL in torch", "MKL_DEBUG_CPU_TYPE": "MKL in torch",
    "PYTHONDONTWRITEBYTECODE": "the start of minicnn where it is not installed but used from its sources",
    "ATEN_CPU_CAPABILITY": "torch", "ONEDNN_MAX_CPU_ISA": "oneDNN in torch", "DNNL_MAX_CPU_ISA": "oneDNN in torch",
}  # fmt: skip
# Variables that change what minicnn does, or everybody. They stay, and are shown.
SHOWN = (
    "OMP_WAIT_POLICY", "GOMP_SPINCOUNT",
    "NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES", "NUMBA_DISABLE_JIT", "NUMBA_BOUNDSCHECK", "NUMBA_OPT", "NUMBA_NUM_THREADS",
    "NUMBA_THREADING_LAYER", "MINICNN_CACHE_DIR",
)  # fmt: skip
PEERS = ("torch", "onnxruntime", "openvino", "onnx")


def clean(variables: dict[str, str], threads: int) -> dict[str, str]:
    """The variables of the measured process: without those that slow a peer down, and OpenBLAS on as many threads.

    OpenBLAS's idle threads spin for 2^26 cycles and so take cores from whoever comes next: a product of 512 took us 4
    times as long after it. At 2^20 cycles, 0.4 ms, it is itself as fast as before.
    """
    kept = {name: value for name, value in variables.items() if name not in SLOW_PEERS}
    return {**kept, "OPENBLAS_NUM_THREADS": str(threads), "OPENBLAS_THREAD_TIMEOUT": "20"}


def removed(variables: dict[str, str]) -> dict[str, str]:
    """name: a sentence on each variable that `clean` takes away."""
    return {
        name: f"{name}={variables[name]} slows {who} down: taken out of the environment of the measured process"
        for name, who in SLOW_PEERS.items()
        if name in variables
    }


def describe(threads: int, peers: Iterable[str] = PEERS) -> dict[str, Any]:
    """Processor, cores, versions and variables, as they are in this process."""
    import numba

    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "threads": threads,
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "versions": {
            "python": platform.python_version(), "numpy": version("numpy"), "numba": numba.__version__,
            **{name: found for name in ("minicnn", *peers) if (found := _version(name))},
        },
        "variables": {name: os.environ[name] for name in (*SHOWN, *SLOW_PEERS) if name in os.environ},
    }  # fmt: skip


def processor() -> str:
    """The name that the processor gives itself, and what LLVM calls it."""
    import llvmlite.binding

    name = platform.processor() or platform.machine()
    for line in _lines("/proc/cpuinfo"):
        if line.startswith("model name"):
            name = line.partition(":")[2].strip()
            break
    return f"{name} ({llvmlite.binding.get_host_cpu_name()})"


def peak_memory() -> int:
    """The most memory that this process has held so far, in bytes.

    Linux counts it for each program (VmHWM): what getrusage says includes the process that started this one.
    """
    for line in _lines("/proc/self/status"):
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024
    import resource

    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return largest if platform.system() == "Darwin" else largest * 1024


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []
