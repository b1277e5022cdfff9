"""From a Python function to machine code on disk: numba-cuda, libNVVM, nvJitLink. Nothing here needs a GPU but `load`.

The code lies in the user's cache folder, named by a hash of all sources of this backend, of the versions of the
compilers and of the signature: an edit or an upgrade recompiles, and two processes never see half a file.
"""

import hashlib
import os
import re
import sys
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numba
import numpy as np
from numba import cuda, types

NUMBERS = {int: types.int64, float: types.float64, bool: types.int64}


class Compiled:
    """A kernel in all the signatures it was called with."""

    def __init__(self, body: Callable, threads: int | tuple[int, int] | None):
        self.body, self.threads = body, threads
        self._functions: dict[tuple, Any] = {}

    def __call__(self, grid: tuple, block: tuple, args: tuple, shared: int) -> None:
        kinds, values = flattened(args)
        function = self._functions.get(kinds)
        if function is None:
            function = self._functions[kinds] = load(*self.machine_code(kinds, this_gpu()))
            if shared > 48 * 1024:  # more than every GPU has without asking
                function.max_dynamic_shared_size_bytes = shared
        function(grid, block, values, shared_mem=shared)

    def machine_code(self, kinds: tuple, architecture: str) -> tuple[Path, str]:
        """(the file of the machine code, the kernel's name in it)."""
        name = f"{self.body.__module__.rpartition('.')[2]}.{described(self.body)}"
        key = repr((name, kinds, architecture, self.threads, _compilers(), _sources()))
        stem = f"{re.sub(r'[^a-z0-9_.]', '-', name.lower())[:60]}-{hashlib.sha256(key.encode()).hexdigest()[:20]}"
        path = cache_folder() / f"{stem}.cubin"
        try:
            code = path.read_bytes()
        except OSError:
            code = linked(intermediate(self.body, kinds, architecture, self.threads), architecture, stem)
            path = _kept(path, code)
        return path, entry_name(code)


def flattened(args: tuple) -> tuple[tuple, tuple]:
    """The kind of each argument, and what the machine code takes for it: Numba's flat form of arrays and tuples."""
    kinds: list = []
    values: list = []
    for arg in args:
        if isinstance(arg, tuple):
            kinds.append(len(arg))
            values += arg
        elif isinstance(arg, np.generic):
            kinds.append(arg.dtype.char)
            values.append(arg)
        elif type(arg) in NUMBERS:
            kinds.append(type(arg))
            values.append(arg)
        else:
            kinds.append((arg.dtype.char, arg.ndim))
            # no owner (two null pointers), then the fields of a Numba array
            values += (0, 0, arg.size, arg.itemsize, arg.data.ptr, *arg.shape, *arg.strides)
    return tuple(kinds), tuple(values)


def numba_type(kind: Any) -> Any:
    """The Numba type of a kind: (character, rank) an array, a character a NumPy scalar, an int so many ints."""
    if isinstance(kind, tuple):
        return types.Array(numba.from_dtype(np.dtype(kind[0])), kind[1], "C")
    if isinstance(kind, str):
        return numba.from_dtype(np.dtype(kind))
    return types.UniTuple(types.int64, kind) if isinstance(kind, int) else NUMBERS[kind]


def intermediate(body: Callable, kinds: tuple, architecture: str, threads: Any = None) -> bytes:
    """libNVVM's LTO-IR for "sm_90" and the like."""
    signature = types.void(*map(numba_type, kinds))
    number = int(architecture.removeprefix("sm_"))
    code, _ = cuda.compile(
        body, signature, device=False, abi="numba", cc=(number // 10, number % 10), fastmath=False,
        launch_bounds=threads, output="ltoir",
    )  # fmt: skip
    return code


def linked(code: bytes, architecture: str, name: str) -> bytes:
    """Machine code (a cubin) of LTO-IR. Unlike the driver's own compiler it need not be older than the driver.

    From PTX nvJitLink would compile for a later link, with addresses yet unknown: the matrix product then spills six
    times as many registers.
    """
    from cuda.bindings import nvjitlink

    options = [f"-arch={architecture}", "-O3", "-lto"]
    handle = nvjitlink.create(len(options), options)
    try:
        nvjitlink.add_data(handle, nvjitlink.InputType.LTOIR, code, len(code), name)
        nvjitlink.complete(handle)
        cubin = bytearray(nvjitlink.get_linked_cubin_size(handle))
        nvjitlink.get_linked_cubin(handle, cubin)
    finally:
        nvjitlink.destroy(handle)
    return bytes(cubin)


def entry_name(cubin: bytes) -> str:
    """The name of the one kernel in a cubin: only kernels have parameters, in the section .nv.constant0.NAME."""
    return re.search(rb"\.nv\.constant0\.(\w+)", cubin).group(1).decode()


def load(code: Path, name: str) -> Any:
    """What CuPy launches."""
    import cupy

    return cupy.RawModule(path=str(code)).get_function(name)


@cache
def this_gpu() -> str:
    """The architecture of the current GPU, "sm_90" for Hopper."""
    import cupy

    return f"sm_{cupy.cuda.Device().compute_capability}"


def described(body: Callable) -> str:
    """The name of a function and of those it closes over: one factory makes many kernels."""
    inner = [getattr(cell.cell_contents, "__name__", repr(cell.cell_contents)) for cell in body.__closure__ or ()]
    return ".".join([body.__qualname__.replace(".<locals>", ""), *inner])


def cache_folder() -> Path:
    """MINICNN_CACHE_DIR or the user's cache folder, then `cuda`."""
    if named := os.environ.get("MINICNN_CACHE_DIR"):
        return Path(named).expanduser() / "cuda"
    base = os.environ.get("LOCALAPPDATA" if sys.platform == "win32" else "XDG_CACHE_HOME")
    return Path(base or Path.home() / ".cache") / "minicnn" / "cuda"


def _kept(path: Path, code: bytes) -> Path:
    """The file with this code; in a temporary folder where the cache cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        folder = path.parent
        handle, aside = tempfile.mkstemp(dir=folder, suffix=".part")
    except OSError:
        folder = Path(tempfile.mkdtemp(prefix="minicnn-"))
        handle, aside = tempfile.mkstemp(dir=folder, suffix=".part")
    with os.fdopen(handle, "wb") as file:
        file.write(code)
    os.replace(aside, folder / path.name)
    return folder / path.name


@cache
def _compilers() -> tuple:
    from importlib.metadata import version

    from cuda.bindings import nvjitlink

    return numba.__version__, version("numba-cuda"), nvjitlink.version()


@cache
def _sources() -> str:
    digest = hashlib.sha256()
    here = Path(__file__).parent
    for source in [*sorted(here.glob("*.py")), here.parent / "winograd_points.py"]:
        digest.update(source.name.encode() + source.read_bytes())
    return digest.hexdigest()
