"""Copies from global to shared memory that run beside the arithmetic and pass through no registers.

    copy_async, copy16_async    one element, or 16 bytes; what lies outside a matrix arrives as zeros
    wait_all                    a pause until the copies this thread asked for are there

They are PTX's cp.async, of GPUs with compute capability 8.0 and later.

Arrays are flat, indices element numbers that are neither negative nor past the end: nothing is checked. In Numba's
simulator the same names are plain Python.
"""

from .launch import SIMULATED

ALIGNMENT = None if SIMULATED else 16  # of shared arrays that are read 16 bytes at a time; the simulator takes none

if SIMULATED:

    def copy_async(shared, to, source, at, inside):
        """shared[to] = source[at] if inside else 0; nothing is read outside. Seen after `wait_all` and a barrier."""
        shared[to] = source[at] if inside else 0

    def copy16_async(shared, to, source, at, count):
        """The same for the elements of 16 bytes, of which the first `count` exist; both ends lie on 16 bytes."""
        for i in range(16 // source.dtype.itemsize):
            shared[to + i] = source[at + i] if i < count else 0

    def wait_all():
        """Wait until the copies this thread asked for have arrived. A barrier then shows them to the others."""

else:
    from llvmlite import ir
    from numba import types
    from numba.cuda.extending import intrinsic

    GLOBAL, SHARED = 1, 3  # NVVM's address spaces
    I32 = ir.IntType(32)

    def _pointer(context, builder, kind, array, at, space=0):
        """The address of array[at], in that address space."""
        data = context.make_array(kind)(context, builder, value=array).data
        element = builder.gep(data, [at])
        return builder.addrspacecast(element, element.type.pointee.as_pointer(space)) if space else element

    def _cp_async(builder, how, to, source, size, given):
        """cp.async: `size` bytes are written at `to`, the first `given` from `source` and zeros after them."""
        kind = ir.FunctionType(ir.VoidType(), [I32, source.type, I32])
        text = f"cp.async.{how}.shared.global [$0], [$1], {size}, $2;"
        asm = ir.InlineAsm(kind, text, "r,l,r,~{memory}", side_effect=True)
        builder.call(asm, [builder.ptrtoint(to, I32), source, given])

    @intrinsic
    def copy_async(typingctx, shared, to, source, at, inside):
        def codegen(context, builder, signature, args):
            shared, to, source, at, inside = args
            size = context.get_abi_sizeof(context.get_data_type(signature.args[0].dtype))
            there = _pointer(context, builder, signature.args[0], shared, to, SHARED)
            here = _pointer(context, builder, signature.args[2], source, at, GLOBAL)
            given = builder.select(inside, I32(size), I32(0))
            _cp_async(builder, "ca", there, here, size, given)
            return context.get_dummy_value()

        return types.void(shared, types.int64, source, types.int64, types.boolean), codegen

    @intrinsic
    def copy16_async(typingctx, shared, to, source, at, count):
        def codegen(context, builder, signature, args):
            shared, to, source, at, count = args
            size = context.get_abi_sizeof(context.get_data_type(signature.args[0].dtype))
            there = _pointer(context, builder, signature.args[0], shared, to, SHARED)
            here = _pointer(context, builder, signature.args[2], source, at, GLOBAL)
            _cp_async(builder, "cg", there, here, 16, builder.mul(count, I32(size)))
            return context.get_dummy_value()

        return types.void(shared, types.int64, source, types.int64, types.int32), codegen

    @intrinsic
    def wait_all(typingctx):
        def codegen(context, builder, signature, args):
            kind = ir.FunctionType(ir.VoidType(), [])
            builder.call(ir.InlineAsm(kind, "cp.async.wait_all;", "~{memory}", side_effect=True), [])
            return context.get_dummy_value()

        return types.void(), codegen
