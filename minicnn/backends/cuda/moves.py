"""Moves of data that Python has no words for: 16 bytes at once, and copies that run beside the arithmetic.

    load4, store4        four neighbours as one 128-bit access
    copy_async           global memory to shared memory without passing through registers (PTX cp.async, compute
                         capability 8.0 and later); what lies outside a matrix arrives as zeros
    commit, wait_all     the copies asked for so far, and the pause until they are there

Arrays are flat, indices element numbers that are neither negative nor past the end: nothing is checked. In Numba's
simulator the same names are plain Python.
"""

from numba import config

SIMULATED = bool(config.ENABLE_CUDASIM)
ALIGNMENT = None if SIMULATED else 16  # of shared arrays that are read 128 bits at a time

if SIMULATED:

    def load4(array, at):
        """array[at], …, array[at + 3]; `at` and the array's start are multiples of four elements."""
        return array[at], array[at + 1], array[at + 2], array[at + 3]

    def store4(array, at, a, b, c, d):
        """array[at : at + 4] = a, b, c, d; `at` and the array's start are multiples of four elements."""
        array[at], array[at + 1], array[at + 2], array[at + 3] = a, b, c, d

    def copy_async(shared, to, source, at, inside):
        """shared[to] = source[at] if inside else 0; nothing is read outside. Seen after `wait_all` and a barrier."""
        shared[to] = source[at] if inside else 0

    def copy16_async(shared, to, source, at, count):
        """The same for the elements of 16 bytes, of which the first `count` exist; both ends lie on 16 bytes."""
        for i in range(16 // source.dtype.itemsize):
            shared[to + i] = source[at + i] if i < count else 0

    def commit():
        """Close the group of copies asked for since the last one."""

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

    @intrinsic
    def load4(typingctx, array, at):
        def codegen(context, builder, signature, args):
            kind = signature.args[0]
            element = context.get_data_type(kind.dtype)
            where = _pointer(context, builder, kind, *args)
            # float64 comes as two vectors: no single access is wider than 16 bytes
            lanes = 16 // context.get_abi_sizeof(element)
            vector = ir.VectorType(element, lanes)
            where = builder.bitcast(where, vector.as_pointer())
            found = []
            for part in range(4 // lanes):
                loaded = builder.load(builder.gep(where, [I32(part)]))
                loaded.align = 16
                found += [builder.extract_element(loaded, I32(lane)) for lane in range(lanes)]
            return context.make_tuple(builder, signature.return_type, found)

        return types.UniTuple(array.dtype, 4)(array, types.int64), codegen

    @intrinsic
    def store4(typingctx, array, at, a, b, c, d):
        def codegen(context, builder, signature, args):
            kind = signature.args[0]
            element = context.get_data_type(kind.dtype)
            where = _pointer(context, builder, kind, *args[:2])
            lanes = 16 // context.get_abi_sizeof(element)
            vector = ir.VectorType(element, lanes)
            where = builder.bitcast(where, vector.as_pointer())
            for part in range(4 // lanes):
                value = ir.Constant(vector, ir.Undefined)
                for lane in range(lanes):
                    value = builder.insert_element(value, args[2 + part * lanes + lane], I32(lane))
                builder.store(value, builder.gep(where, [I32(part)]), align=16)
            return context.get_dummy_value()

        return types.void(array, types.int64, *[array.dtype] * 4), codegen

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
    def commit(typingctx):
        def codegen(context, builder, signature, args):
            return _bare(context, builder, "cp.async.commit_group;")

        return types.void(), codegen

    @intrinsic
    def wait_all(typingctx):
        def codegen(context, builder, signature, args):
            return _bare(context, builder, "cp.async.wait_all;")

        return types.void(), codegen

    def _bare(context, builder, text):
        asm = ir.InlineAsm(ir.FunctionType(ir.VoidType(), []), text, "~{memory}", side_effect=True)
        builder.call(asm, [])
        return context.get_dummy_value()
