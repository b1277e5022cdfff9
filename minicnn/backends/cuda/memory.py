"""Reading and writing at an address, for a kernel that works on many arrays: it is given a table of their addresses.

`read(address, i, like)` is element i of the array that begins there, of the type of the number `like`, and
`write(address, i, value)` stores one.
"""

from .launch import SIMULATED

if SIMULATED:
    import ctypes

    import numpy as np

    def _element(address, i, dtype):
        size = np.dtype(dtype).itemsize
        return np.frombuffer((ctypes.c_char * size).from_address(int(address) + size * int(i)), dtype)

    def read(address, i, like):
        return _element(address, i, type(like))[0]

    def write(address, i, value):
        _element(address, i, type(value))[0] = value

else:
    from numba import types
    from numba.extending import intrinsic

    GLOBAL = 1  # the address space of arrays

    def _pointer(context, builder, number_type, address, i):
        element = context.get_value_type(number_type)
        return builder.gep(builder.inttoptr(address, element.as_pointer(GLOBAL)), [i])

    @intrinsic
    def read(typingctx, address, i, like):
        def generate(context, builder, signature, args):
            return builder.load(_pointer(context, builder, like, args[0], args[1]))

        return like(types.int64, types.int64, like), generate

    @intrinsic
    def write(typingctx, address, i, value):
        def generate(context, builder, signature, args):
            builder.store(args[2], _pointer(context, builder, value, args[0], args[1]))
            return context.get_dummy_value()

        return types.void(types.int64, types.int64, value), generate
