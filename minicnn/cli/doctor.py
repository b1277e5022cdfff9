"""minicnn doctor: what is here, what works, what to install."""

import argparse
import contextlib
import os
import platform
import tempfile
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from .options import add_json
from .output import print_json

NEEDED = ("numpy", "numba", "llvmlite", "pillow", "tqdm", "safetensors")
EXTRAS = {
    "matplotlib": "pictures: pip install 'minicnn[plots]'",
    "torch": "comparisons: pip install 'minicnn[test]'",
    "numba-cuda": "kernels for a GPU: pip install 'minicnn[cuda13]'",
    "cupy-cuda13x": "arrays on a GPU: pip install 'minicnn[cuda13]', or cuda12 where the driver is older than 580",
}
FEATURES = ("sse4.2", "avx", "avx2", "fma", "avx512f", "avx512bw", "neon", "asimd", "sve")


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "doctor", help="show what is installed and what works",
        description="Versions, processor, threads, cache folder and backends; what to install for one that is missing. "
        "Exit code 1 if the default backend cannot compute.",
    )  # fmt: skip
    add_json(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    report = {
        "versions": versions(),
        "processor": processor(),
        "threads": threads(),
        "cache": cache(),
        "backends": backends(),
        "data": os.environ.get("MINICNN_DATA"),
    }
    if args.json:
        print_json(report)
    else:
        print("\n".join(lines(report)))
    return 0 if report["backends"]["cpu"]["works"] else 1


def versions() -> dict[str, str | None]:
    """None for what is not installed."""
    from .. import __version__

    found: dict[str, str | None] = {"minicnn": __version__, "python": platform.python_version()}
    for name in (*NEEDED, *EXTRAS):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found


def processor() -> dict[str, Any]:
    found: dict[str, Any] = {"machine": platform.machine(), "system": platform.system(), "cores": os.cpu_count()}
    with contextlib.suppress(Exception):  # LLVM does not know every processor
        import llvmlite.binding

        present = llvmlite.binding.get_host_cpu_features()
        found["name"] = llvmlite.binding.get_host_cpu_name()
        found["features"] = [feature for feature in FEATURES if present.get(feature)]
    return found


def threads() -> dict[str, Any]:
    """How many are used, and which layer starts them: known once a parallel kernel has run."""
    from .. import get_num_threads

    layer = None
    with contextlib.suppress(Exception):
        import numba
        import numpy as np

        from .. import backend, functional

        with backend("cpu"):
            functional.relu(np.ones(4, np.float32))
        layer = numba.threading_layer()
    return {"used": get_num_threads(), "layer": layer}


def cache() -> dict[str, Any]:
    """The folder of compiled kernels: whether it can be written, and what lies there."""
    from ..backends.cpu.places import cache_folder

    folder = cache_folder()
    files = list(folder.glob("*.kernel"))
    writable, problem = True, None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        writable, problem = False, error.strerror
    size = sum(file.stat().st_size for file in files)
    return {"folder": str(folder), "writable": writable, "problem": problem, "kernels": len(files), "bytes": size}


def backends() -> dict[str, dict[str, Any]]:
    """For each: whether it gives the right result of a small sum, or why not."""
    import numpy as np

    from .. import functional
    from ..backends import backend, why_missing
    from ..backends.settings import BACKENDS

    found = {}
    for name in BACKENDS:
        problem = why_missing(name)
        if problem is None:
            try:
                with backend(name):
                    y, _ = functional.linear(np.ones((2, 3), np.float32), np.ones((4, 3), np.float32))
                problem = None if (y == 3).all() else "gives wrong results"
            except Exception as error:
                problem = f"{type(error).__name__}: {error}"
        found[name] = {"works": problem is None, "problem": problem}
    return found


def lines(report: dict[str, Any]) -> list[str]:
    """The report as text."""
    text = []
    for name, number in report["versions"].items():
        text.append(f"{name:12} " + (number or f"not installed ({EXTRAS.get(name, 'needed')})"))
    cpu, cache_, threads_ = report["processor"], report["cache"], report["threads"]
    text.append("")
    text.append(
        f"processor    {cpu.get('name', cpu['machine'])}, {cpu['cores']} cores; {' '.join(cpu.get('features', []))}"
    )
    text.append(f"threads      {threads_['used']}, started by {threads_['layer'] or 'nobody (no parallel kernel ran)'}")
    state = (
        "writable" if cache_["writable"] else f"NOT writable ({cache_['problem']}): kernels compile in every process"
    )
    text.append(
        f"cache        {cache_['folder']}: {state}; {cache_['kernels']} kernels, {cache_['bytes'] / 1e6:.1f} MB"
    )
    text.append(f"data         {report['data'] or 'MINICNN_DATA is not set: data sets are looked for in ./data'}")
    text.append("")
    for name, found in report["backends"].items():
        text.append(f"{name:12} {'works' if found['works'] else found['problem']}")
    return text
