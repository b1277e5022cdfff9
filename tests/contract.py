"""What every pair of operations promises, whatever it computes."""

import numpy as np
from cases import LAYOUTS
from tolerance import assert_close

import minicnn


def tuple_of(value):
    return value if isinstance(value, tuple) else (value,)


def assert_same(actual, expected, what):
    for i, (a, e) in enumerate(zip(tuple_of(actual), tuple_of(expected), strict=True)):
        np.testing.assert_array_equal(a, e, err_msg=f"{what}: result {i}")


def assert_contract(op, op_backward, arrays, rng, *, may_return_x=False):
    """op(*arrays) -> (y, ctx): new, C-contiguous results of the dtype of x, from inputs in any memory, none changed.

    Every layout of cases.py gives what its contiguous copy gives, to rounding (NumPy adds in the order of the memory);
    a second backward gives the same bits; inside `no_grad` there is no context.
    """
    dtype = arrays[0].dtype
    length = max(array.size for array in arrays)
    for layout in (np.copy, *LAYOUTS):
        odd = [layout(array) for array in arrays]
        copies = [np.array(array, order="C") for array in odd]
        what = f"{op.__name__}, {layout.__name__}"
        y, ctx = op(*odd)
        expected, expected_ctx = op(*copies)
        dy = layout(rng.standard_normal(y.shape).astype(dtype))
        dy_copy = np.array(dy, order="C")
        gradients = op_backward(dy, ctx)
        assert_close(y, expected, length, what=f"{what}: y")
        for i, (a, e) in enumerate(zip(tuple_of(gradients), tuple_of(op_backward(dy_copy, expected_ctx)))):
            assert_close(a, e, length, what=f"{what}: gradient {i}")
        kept = [np.copy(gradient) for gradient in tuple_of(gradients)]
        assert_same(op_backward(dy, ctx), gradients, f"{what}: a second backward")
        assert_same(tuple(kept), tuple_of(gradients), f"{what}: gradients after a second backward")
        assert_same(tuple(odd), tuple(copies), f"{what}: inputs afterwards")
        assert_same(dy, dy_copy, f"{what}: dy afterwards")
        for i, result in enumerate((y, *tuple_of(gradients))):
            assert result.flags.c_contiguous, f"{what}: result {i} is not C-contiguous"
            assert result.dtype == dtype, f"{what}: result {i} is {result.dtype}, x is {dtype}"
            if i > 0 or not may_return_x:
                assert result.flags.writeable, f"{what}: result {i} is read-only"
                for given in (*odd, dy):
                    assert not np.may_share_memory(result, given), f"{what}: result {i} is memory of an input"
        with minicnn.no_grad():
            assert op(*copies)[1] is None
