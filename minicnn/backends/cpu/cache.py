"""Compiling and keeping kernels: `@kernel` is Numba's njit with the flags of this project and a cache of its own.

Numba notices when a kernel's own file changes, not when a file that the kernel uses does. So compiled code is kept in
a folder whose name holds a hash of the Numba version, the processor and the flags, in files whose name holds a hash of
the kernel's source file and of all that it imports from here. A folder that cannot be written, a full disk or a damaged
file costs a compilation, never a run.
"""

import pickle
import sys
import threading
import time
from hashlib import sha256

import numba
from numba.core import caching, event, serialize

from . import native, threads
from .linking import PartCompiler, WholeCompiler, part
from .places import cache_folder, read_checked, source_hash, warn_once, write_checked

# Contraction to FMA and regrouping of sums; never nnan or ninf, which assume NaN and infinity away.
FAST = frozenset({"contract", "reassoc", "nsz", "arcp"})
EXACT = frozenset({"contract"})


threads.numba_runs()


def kernel(function=None, *, parallel=False, fast=False, inline="never", whole=False, alone=False):
    """njit without the GIL. What Python calls is parallel or `whole`, and cached on disk; the others are parts of it.

    fast: sums may be regrouped (not where a test says that order matters).
    alone: the machine code is kept for `native.Kernel` too, which runs it without Numba. Such a kernel is parallel, has
    one signature for each dtype of its arrays, and returns nothing.
    """
    if function is None:
        return lambda body: kernel(body, parallel=parallel, fast=fast, inline=inline, whole=whole, alone=alone)
    whole = whole or parallel
    compiled = numba.njit(
        function, parallel=parallel, nogil=True, fastmath=set(FAST if fast else EXACT), inline=inline,
        error_model="numpy", pipeline_class=WholeCompiler if whole else PartCompiler,
    )  # fmt: skip
    if numba.config.DISABLE_JIT:
        return compiled
    return _cached(compiled, alone) if whole else part(compiled)


def _cached(compiled, alone):
    try:
        compiled._cache = _KernelCache(compiled.py_func, alone)
    except Exception as problem:  # caching is Numba's inner matter: without it everything still works
        warn_once(str(problem))
    return compiled


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
    """One file a compiled signature, named by a hash of its key.

    Numba's own files share an index, which two processes that save at once can leave pointing at the wrong code.
    """

    def __init__(self, name: str):
        self._name, self._sources = name, source_hash(name.partition(".")[0])

    def load(self, key):
        content = read_checked(self._path(key))
        return None if content is None else pickle.loads(content)

    def save(self, key, data):
        write_checked(self._path(key), serialize.dumps(data))

    def _path(self, key):
        digest = sha256((self._sources + repr(key)).encode()).hexdigest()
        return cache_folder() / f"{self._name}-{digest[:20]}.kernel"


class _KernelCache(caching.FunctionCache):
    """Numba's cache, except that a file which cannot be read or written is only a cache miss."""

    _impl_class = _CacheImplementation

    def __init__(self, py_func, alone: bool):
        super().__init__(py_func)
        self._name, self._alone = self._impl.filename_base, alone
        self._cache_file = _Files(self._name)

    def load_overload(self, signature, target_context):
        try:
            if self._alone and native.usable() and not native.kept(self._name, signature):
                return None  # compile it again: only then can its machine code be kept too
            return super().load_overload(signature, target_context)
        except Exception as problem:
            warn_once(str(problem))
            return None

    def save_overload(self, signature, data):
        try:
            super().save_overload(signature, data)
            if self._alone and native.usable():
                native.keep(self._name, data)
        except Exception as problem:
            warn_once(str(problem))


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
