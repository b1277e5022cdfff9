"""Four elements at once: a load or store of 16 bytes where four of 4 would take four instructions.

`load4(array, i)` gives array[i], …, array[i + 3] as a tuple and `store4(array, i, a, b, c, d)` writes them. The array
is flat and begins at a multiple of 16 bytes (`arrays.canonical` sees to it), i is a multiple of 4. float64 takes two
loads of 16 bytes. Shared memory that begins at a multiple of 16 bytes works too.
"""

from .launch import SIMULATED

if SIMULATED:

    def load4(array, i):
        return array[i], array[i + 1], array[i + 2], array[i + 3]

    def store4(array, i, a, b, c, d):
        array[i], array[i + 1], array[i + 2], array[i + 3] = a, b, c, d

else:
    from llvmlite import ir
    from numba import types
    from numba.extending import intrinsic

    @intrinsic
    def load4(typingctx, array, i):
        def generate(context, builder, signature, args):
            element = context.get_value_type(array.dtype)
            pointer = _vector_pointer(context, builder, array, args[0], args[1], element)
            vector = builder.load(pointer, align=16)
            parts = [builder.extract_element(vector, ir.Constant(ir.IntType(32), k)) for k in range(4)]
            return context.make_tuple(builder, signature.return_type, parts)

        return types.UniTuple(array.dtype, 4)(array, i), generate

    @intrinsic
    def store4(typingctx, array, i, a, b, c, d):
        def generate(context, builder, signature, args):
            element = context.get_value_type(array.dtype)
            pointer = _vector_pointer(context, builder, array, args[0], args[1], element)
            vector = ir.Constant(ir.VectorType(element, 4), ir.Undefined)
            for k in range(4):
                vector = builder.insert_element(vector, args[2 + k], ir.Constant(ir.IntType(32), k))
            builder.store(vector, pointer, align=16)
            return context.get_dummy_value()

        of = array.dtype
        return types.void(array, i, of, of, of, of), generate

    def _vector_pointer(context, builder, array, value, index, element):
        """The address of array[index], as that of four elements in the address space the array is in."""
        start = context.make_array(array)(context, builder, value).data
        place = builder.gep(start, [index])
        return builder.bitcast(place, ir.VectorType(element, 4).as_pointer(place.type.addrspace))
