"""Kernels without Numba: the machine code that it left in the cache, loaded by LLVM and called as Numba would call it.

Importing Numba and setting up its compiler takes 0.7 s, most of the time to a first prediction; this takes 0.1 s. A
file holds the checksum, a line of JSON and the object code:

    entry   the function that takes Python arguments (Numba's "cpython wrapper")
    env     the variable in which that function looks for its environment
    needs   the functions of Numba, Python and C that the code calls

Where anything is missing, older or damaged, the kernel comes through Numba, which compiles it and writes the file.
"""

import builtins
import json
import os
import threading
from collections.abc import Callable
from hashlib import sha256
from importlib import import_module

import numpy as np

from . import threads
from .extensions import extension
from .places import cache_folder, read_checked, source_hash, warn_once, write_checked


class Kernel:
    """The kernel `name` of the file `stem` beside this one, declared with `alone=True`."""

    def __init__(self, stem: str, name: str):
        self.stem, self.name = stem, name
        self._ready: dict[np.dtype, Callable] = {}

    def __call__(self, dtype: np.dtype, *arguments) -> None:
        """Run it in parallel on arrays of this dtype. Numbers are Python's, arrays C-contiguous and writable."""
        ready = self._ready.get(dtype)
        if ready is None:
            ready = self._ready[dtype] = self._load(dtype)
        threads.launch(ready, *arguments)

    def _load(self, dtype: np.dtype):
        if usable():
            try:
                with _loading:
                    found = _load(f"{self.stem}.{self.name}", dtype.str[1:])
                if found is not None:
                    return found
            except Exception as problem:  # as for a file that cannot be read: Numba takes its place
                warn_once(str(problem))
        return getattr(import_module(f".{self.stem}", __package__), self.name)


def usable() -> bool:
    """Whether compiled code may run without Numba here: where the OpenMP pool is, and nobody switched compiling off."""
    return os.environ.get("NUMBA_DISABLE_JIT", "0") == "0" and threads.openmp() is not None


def kept(name: str, signature) -> bool:
    """Whether the machine code of a kernel is there, and whole."""
    return read_checked(_path(name, _dtype(signature))) is not None


def keep(name: str, compiled) -> None:
    """Write the machine code of what Numba compiled: nothing where it refers to Python objects, which Numba holds."""
    path = _path(name, _dtype(compiled.signature.args))
    if any(env.consts for env in compiled._find_referenced_environments()):
        write_checked(path, b"")
        return
    module = compiled.library._final_module
    declared = [*module.functions, *module.global_variables]
    head = {
        "entry": compiled.fndesc.llvm_cpython_wrapper_name,
        "env": compiled.fndesc.env_name,
        "needs": [each.name for each in declared if each.is_declaration and not each.name.startswith("llvm.")],
    }
    content = json.dumps(head).encode() + b"\n" + compiled.library._get_compiled_object()
    write_checked(path, content)


def _dtype(signature) -> str:
    """f4 or f8: of the first array of floating numbers."""
    return next(f"f{t.dtype.bitwidth // 8}" for t in signature if hasattr(t, "ndim") and hasattr(t.dtype, "bitwidth")
                and str(t.dtype).startswith("float"))  # fmt: skip


def _path(name: str, dtype: str):
    digest = sha256((source_hash(name.partition(".")[0]) + name + dtype).encode()).hexdigest()
    return cache_folder() / f"{name}-{digest[:20]}.native"


_loading = threading.Lock()
_alive: list = []  # code and environments, which are called by address


def _load(name: str, dtype: str):
    """The function, or None where the code is not there or calls what is not."""
    content = read_checked(_path(name, dtype))
    if not content:
        return None
    line, _, code = content.partition(b"\n")
    head = json.loads(line)
    addresses = _addresses()
    unknown = [each for each in head["needs"] if each not in addresses and not _in_process(each)]
    if unknown:  # LLVM would end the process
        return None
    from llvmlite import binding

    for each in head["needs"]:
        if each in addresses:
            binding.add_symbol(each, addresses[each])
    threads.pool_runs(threads.openmp())
    return _link(name, head, code)


def _link(name: str, head: dict, code: bytes):
    """The entry of the code as a function of Python."""
    import ctypes

    from llvmlite import binding

    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    machine = binding.Target.from_triple(binding.get_process_triple()).create_target_machine()
    engine = binding.create_mcjit_compiler(binding.parse_assembly(""), machine)
    engine.add_object_file(binding.ObjectFileRef.from_data(code))
    engine.finalize_object()
    entry = engine.get_function_address(head["entry"])
    dynfunc = extension("numba._dynfunc")
    environment = dynfunc.Environment({"__name__": __name__})
    place = engine.get_global_value_address(head["env"])
    if not entry or not place:
        raise ValueError(f"{name}: no such function in the kept code")
    ctypes.c_void_p.from_address(place).value = id(environment)
    _alive.append((engine, environment))
    return dynfunc.make_function(import_module(__name__), name, "", entry, environment, engine)


_table: dict[str, int] = {}


def _addresses() -> dict[str, int]:
    """Where the functions are that Numba's code calls, under the names that Numba gives them."""
    if not _table:
        pool = threads.openmp()
        for module in ("numba._helperlib", "numba._dynfunc"):
            _table.update({f"numba_{name}": at for name, at in extension(module).c_helpers.items()})
        for name, at in extension("numba.core.runtime._nrt_python").c_helpers.items():
            _table[name if name.startswith("_") else f"NRT_{name}"] = at
        for name in ("get_num_threads", "set_num_threads", "get_thread_id", "get_sched_size", "allocate_sched",
                     "deallocate_sched", "do_scheduling_signed", "do_scheduling_unsigned", "set_parallel_chunksize",
                     "get_parallel_chunksize"):  # fmt: skip
            _table[name] = getattr(pool, name)
        _table["numba_parallel_for"] = pool.parallel_for
        _table["_Py_NoneStruct"] = id(None)
        for each in vars(builtins).values():
            if isinstance(each, type) and issubclass(each, BaseException):
                _table[f"PyExc_{each.__name__}"] = id(each)
    return _table


def _in_process(name: str) -> bool:
    """Whether Python or the C library has a function of this name."""
    import ctypes

    return hasattr(ctypes.pythonapi, name) or (os.name != "nt" and hasattr(ctypes.CDLL(None), name))
