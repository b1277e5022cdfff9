"""How much of a kernel is optimised and made into machine code: the kernel as a whole, once.

Numba makes machine code of each function by itself, and again within each that calls it: a helper three calls deep four
times, the body of a prange loop four times as well (it, two wrappers around it, the kernel). Here what a kernel calls
is a part of it: only linked, so that LLVM sees the whole at the end. The first training step of the small CNN takes
14 to 21 s with an empty cache so, and took 37 (2 cores, Zen 4, one process).
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

from llvmlite import ir
from numba.core import codegen, compiler, environment, types
from numba.core.compiler_machinery import register_pass
from numba.core.typed_passes import BaseNativeLowering, NativeParforLowering, ParforFusionPass
from numba.np.ufunc import parallel
from numba.parfors.parfor_lowering import ParforLower


class _Part(codegen.JITCodeLibrary):
    """The code of a function that only kernels call: linked into theirs, never run by itself."""

    def _optimize_functions(self, ll_module):
        ll_module.data_layout = self._codegen._data_layout  # linking asks for the same in all modules

    def _optimize_final_module(self):
        pass

    def _finalize_final_module(self):
        self._finalize_dynamic_globals()
        self._finalized = True

    def get_pointer_to_function(self, name):
        return 0

    @property
    def codegen(self):
        """Who sets the environment of a function, a variable of its machine code. The whole does it for its parts."""
        return _NoMachineCode


class _NoMachineCode:
    @staticmethod
    def set_env(name, env):
        pass


class _Whole(codegen.JITCodeLibrary):
    """The code of a kernel that Python calls, and of its parts."""

    def _finalize_specific(self):
        super()._finalize_specific()
        for variable in self._final_module.global_variables:
            env = environment.lookup_environment(variable.name)
            if env is not None:
                self._codegen.set_env(variable.name, env)


class _LowerWhole(ParforLower):
    """Adds the function that takes Python's arguments. Without the flag, since a prange loop inherits the flags."""

    def lower(self):
        super().lower()
        self.create_cpython_wrapper(release_gil=True)


@register_pass(mutates_CFG=True, analysis_only=False)
class _LoweringOfWhole(NativeParforLowering):
    _name = "lowering_of_whole"
    lowering_class = _LowerWhole


class PartCompiler(compiler.Compiler):
    """For a kernel that other kernels call."""

    def _compile_core(self):
        self.state.flags.no_cfunc_wrapper = self.state.flags.no_cpython_wrapper = True
        with _made_of_parts(self.state.targetctx.codegen()):
            return super()._compile_core()


class WholeCompiler(PartCompiler):
    """For a kernel that Python calls."""

    def define_pipelines(self):
        [passes] = super().define_pipelines()
        passes.passes = [
            (_LoweringOfWhole if issubclass(each, BaseNativeLowering) else each, why)
            for each, why in passes.passes
            if each is not ParforFusionPass  # a kernel has one loop: looking for two to fuse took a tenth of the time
        ]
        passes.finalize()
        return [passes]

    def _compile_core(self):
        library = _Whole(self.state.targetctx.codegen(), self.state.func_id.func_qualname)
        library.enable_object_caching()  # before the machine code is there
        self.state.library = library
        return super()._compile_core()


@contextmanager
def _made_of_parts(generator) -> Iterator[None]:
    """Whatever else Numba compiles meanwhile, holding its lock, is a part, and its loops begin as `_start` says.

    No garbage is collected: what compiling makes is still needed, and to look through it took a seventh of the time.
    """
    usual, collecting = (generator._library_class, parallel.build_gufunc_kernel), gc.isenabled()
    generator._library_class, parallel.build_gufunc_kernel = _Part, _start
    gc.disable()
    try:
        yield
    finally:
        generator._library_class, parallel.build_gufunc_kernel = usual
        if collecting:
            gc.enable()


def _start(library, context, rounds, signature, sizes_count):
    """What a prange loop calls, to have its `rounds` run by the threads: (library, …, name of the function).

    Numba's takes the GIL, gives it back and wakes the threads, however little there is to do. Ours relies on the caller
    to have given the GIL back, and runs a single round right here: a ReLU of 512 values took 2.2 µs, now 0.7.
    """
    size, pointer = context.get_value_type(types.intp), ir.PointerType()
    home = context.codegen().create_library("start")
    module = home.create_ir_module("start")
    kind = ir.FunctionType(ir.VoidType(), [pointer] * 4)
    run, function = ir.Function(module, kind, rounds.name), ir.Function(module, kind, f"start.{rounds.name}")
    arrays, sizes, steps, _ = function.args
    builder = ir.IRBuilder(function.append_basic_block())
    # The first of the arrays is the schedule, steps[0] bytes for each of the sizes[0] threads: its first rounds, then
    # its last. A thread that has nothing to do begins behind its last.
    schedule, step = builder.load(arrays, typ=pointer), builder.load(steps, typ=size)
    second = builder.select(builder.icmp_signed(">", builder.load(sizes, typ=size), size(1)), step, size(0))
    places = second, builder.add(second, builder.lshr(step, size(1)))
    first, last = (builder.load(builder.gep(schedule, [at], source_etype=ir.IntType(8)), typ=size) for at in places)
    idle = builder.or_(builder.icmp_unsigned("==", second, size(0)), builder.icmp_signed(">", first, last))
    with builder.if_else(idle) as (here, on_threads):
        with here:
            builder.call(run, function.args)
        with on_threads:
            count = ir.Function(module, ir.FunctionType(size, []), "get_num_threads")
            kind = ir.FunctionType(ir.VoidType(), [pointer] * 5 + [size] * 3)
            launch = ir.Function(module, kind, "numba_parallel_for")
            counts = size(sizes_count), size(len(signature.args)), builder.call(count, [])
            builder.call(launch, [run, *function.args, *counts])
    builder.ret_void()
    home.add_ir_module(module)
    home.add_linking_library(rounds.library)
    return rounds._replace(library=home, name=function.name)


def part(compiled):
    """The same function, without machine code: a call from Python is refused, where it would jump to nowhere."""

    def refuse(*args, **kwargs):
        raise TypeError(f"{compiled.__name__} is a part of kernels: Python can call it only if it is declared `whole`")

    compiled._insert = lambda *overload: None  # the table where Python's calls look for machine code stays empty
    compiled._compile_for_args = refuse
    return compiled
