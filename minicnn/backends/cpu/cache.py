"""Compiling and keeping kernels: `@kernel` is Numba's njit with the flags of this project and a cache of its own.

Numba notices when a kernel's own file changes, not when a file that the kernel uses does. So compiled code is kept in
a folder whose name holds a hash of the Numba version, the processor and the flags, in files whose name holds a hash of
the kernel's source file and of all that it imports from here. A folder that cannot be written, a full disk or a damaged
file costs a compilation, never a run.
"""

import hashlib
import os
import pickle
import re
import sys
import threading
import time
from functools import cache
from pathlib import Path

import llvmlite
import llvmlite.binding
import numba
from numba.core import caching, event, serialize

# Contraction to FMA and regrouping of sums; never nnan or ninf, which assume NaN and infinity away.
FAST = frozenset({"contract", "reassoc", "nsz", "arcp"})
EXACT = frozenset({"contract"})


def kernel(function=None, *, parallel=False, fast=False, inline="never"):
    """njit, cached on disk, without the GIL. fast: sums may be regrouped (not where a test says that order matters)."""
    if function is None:
        return lambda body: kernel(body, parallel=parallel, fast=fast, inline=inline)
    flags = set(FAST if fast else EXACT)
    compiled = numba.njit(function, parallel=parallel, nogil=True, fastmath=flags, inline=inline, error_model="numpy")
    if not numba.config.DISABLE_JIT:
        try:
            compiled._cache = _KernelCache(function)
        except Exception as problem:  # caching is Numba's inner matter: without it everything still works
            _warn_once(str(problem))
    return compiled


def cache_folder() -> Path:
    """Where compiled kernels are kept: MINICNN_CACHE_DIR or the user's cache folder, then a name for this build."""
    return cache_root() / f"kernels-{_fingerprint()}"


def cache_root() -> Path:
    if named := os.environ.get("MINICNN_CACHE_DIR"):
        return Path(named).expanduser()
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "minicnn"


@cache
def _fingerprint() -> str:
    """A hash of what compiled code depends on, its sources apart."""
    target = llvmlite.binding
    parts = (
        numba.__version__,
        llvmlite.__version__,
        sys.version,
        os.environ.get("NUMBA_CPU_NAME") or target.get_host_cpu_name(),
        os.environ.get("NUMBA_CPU_FEATURES") or target.get_host_cpu_features().flatten(),
        str((numba.config.BOUNDSCHECK, numba.config.OPT)),
    )
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


@cache
def _source_hash(stem: str) -> str:
    """A hash of one file of this folder and of those it imports, directly or not."""
    found, waiting = {}, [stem]
    while waiting:
        name = waiting.pop()
        source = Path(__file__).with_name(f"{name}.py")
        if name not in found and source.exists():
            found[name] = source.read_bytes()
            waiting += re.findall(r"^from \.(\w+) import", found[name].decode(), re.MULTILINE)
    digest = hashlib.sha256()
    for name in sorted(found):
        digest.update(name.encode() + found[name])
    return digest.hexdigest()


class _Locator:
    """Tells Numba where cached code goes. What makes it out of date is in the name of the folder."""

    def ensure_cache_path(self):
        cache_folder().mkdir(parents=True, exist_ok=True)

    def get_cache_path(self):
        return str(cache_folder())

    def get_source_stamp(self):
        return ""

    def get_disambiguator(self):
        return ""


class _CacheImplementation(caching.CompileResultCacheImpl):
    def __init__(self, py_func):
        self._locator = _Locator()
        self._filename_base = f"{py_func.__module__.rpartition('.')[2]}.{py_func.__qualname__}"


class _Files:
    """One file a compiled signature, named by a hash of its key, written aside and renamed, with a checksum in front.

    Numba's own files share an index, which two processes that save at once can leave pointing at the wrong code.
    """

    def __init__(self, name: str):
        self._name, self._sources = name, _source_hash(name.partition(".")[0])

    def load(self, key):
        try:
            content = self._path(key).read_bytes()
        except FileNotFoundError:
            return None
        checksum, data = content[:32], content[32:]
        return pickle.loads(data) if hashlib.sha256(data).digest() == checksum else None

    def save(self, key, data):
        content = serialize.dumps(data)
        path = self._path(key)
        aside = path.with_suffix(f".{os.getpid()}-{threading.get_ident()}.tmp")
        try:
            aside.write_bytes(hashlib.sha256(content).digest() + content)
            aside.replace(path)
        finally:
            aside.unlink(missing_ok=True)

    def _path(self, key) -> Path:
        digest = hashlib.sha256((self._sources + repr(key)).encode()).hexdigest()
        return cache_folder() / f"{self._name}-{digest[:20]}.kernel"


class _KernelCache(caching.FunctionCache):
    """Numba's cache, except that a file which cannot be read or written is only a cache miss."""

    _impl_class = _CacheImplementation

    def __init__(self, py_func):
        super().__init__(py_func)
        self._cache_file = _Files(self._impl.filename_base)

    def load_overload(self, signature, target_context):
        try:
            return super().load_overload(signature, target_context)
        except Exception as problem:
            _warn_once(str(problem))
            return None

    def save_overload(self, signature, data):
        try:
            super().save_overload(signature, data)
        except Exception as problem:
            _warn_once(str(problem))


@cache
def _warn_once(problem: str):
    print(f"minicnn: compiled kernels are not kept in {cache_root()}: {problem}", file=sys.stderr)


class _Notice(event.Listener):
    """One line on stderr when compiling has taken longer than `patience` seconds in all."""

    patience = 1.0

    def __init__(self):
        self._depth, self._spent, self._began, self._said = 0, 0.0, 0.0, False
        self._timer = None

    def on_start(self, event):
        if self._said or not _ours(event):
            return
        self._depth += 1
        if self._depth == 1:
            self._began = time.perf_counter()
            self._timer = threading.Timer(max(0.0, self.patience - self._spent), self._say)
            self._timer.daemon = True
            self._timer.start()

    def on_end(self, event):
        if self._said or not _ours(event) or self._depth == 0:
            return
        self._depth -= 1
        if self._depth == 0:
            self._timer.cancel()
            self._spent += time.perf_counter() - self._began

    def _say(self):
        self._said = True
        print(
            "minicnn: compiling kernels for this processor, once (minicnn warmup does it ahead)",
            file=sys.stderr,
            flush=True,
        )


def _ours(compile_event) -> bool:
    dispatcher = compile_event.data.get("dispatcher")
    return dispatcher is not None and dispatcher.py_func.__module__.startswith("minicnn.")


event.register("numba:compile", _Notice())
