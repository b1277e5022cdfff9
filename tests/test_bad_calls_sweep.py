"""Every argument of every operation, replaced by what it must not be: a clear refusal, and nothing changed.

What a value does depends on the argument: some are valid there. So a call either works, or raises one of the three
documented exceptions with one line that names the operation and the argument.
"""

import copy
import inspect
import re

import numpy as np
import pytest

import minicnn
from minicnn import functional as F
from minicnn.inspect import catalogue

OPERATIONS = catalogue.operations()
HUGE = 2**62  # a size that overflows; what merely does not fit into memory is not asked for

WRONG = {
    "None": None,
    "a string": "reflected",
    "an empty string": "",
    "a bool": True,
    "an int": 3,
    "zero": 0,
    "minus one": -1,
    "a huge int": HUGE,
    "an int beyond int64": 2**70,
    "an int beyond any float": 10**400,
    "an int that Python does not print": 10**5000,
    "a negative huge int": -(2**70),
    "a fraction": 1.5,
    "NaN": float("nan"),
    "infinity": float("inf"),
    "a complex number": 1j,
    "an object": object(),
    "a class": int,
    "a function": len,
    "a dict": {"x": 1},
    "a set": {1, 2},
    "an empty tuple": (),
    "a triple": (1, 2, 3),
    "a pair of strings": ("a", "b"),
    "a pair of negatives": (-1, -1),
    "a pair of huge ints": (HUGE, HUGE),
    "a nested list": [[1.0, 2.0], [3.0, 4.0]],
    "an integer array": np.arange(12).reshape(3, 4),
    "a bool array": np.ones((3, 4), bool),
    "a complex array": np.ones((3, 4), complex),
    "a float16 array": np.ones((3, 4), np.float16),
    "a longdouble array": np.ones((3, 4), np.longdouble),
    "an array of objects": np.array([None, "a"], object),
    "an array of strings": np.array(["a", "b"]),
    "a big-endian array": np.ones((3, 4), ">f8"),
    "another floating dtype": np.ones((3, 4), np.float32),
    "a scalar array": np.array(1.0),
    "an empty array": np.zeros((0,)),
    "an array of no images": np.zeros((0, 3, 4, 4)),
    "an array of no pixels": np.zeros((2, 4, 0, 7)),
    "an array of five axes": np.ones((1, 2, 1, 2, 1)),
    "an array of one axis": np.ones(3),
    "an array of other sizes": np.ones((3, 5, 2, 9)),
    "class indices out of range": np.array([0, 1, 2, 99, -7, 1]),
    "a list of None": [None, None],
    "a list of arrays": [np.ones((2, 3)), np.ones((3, 2, 1))],
    "a NumPy scalar": np.float64(0.5),
    "a NumPy int": np.int64(-5),
}


def arrays_in(value):
    if isinstance(value, np.ndarray):
        return [value]
    return [each for item in value for each in arrays_in(item)] if isinstance(value, (list, tuple)) else []


def refused_clearly(call, operation, arguments, what):
    """Call; a refusal must be a documented one that names one of the arguments. Returns whether it was refused."""
    try:
        call()
    except (TypeError, ValueError, IndexError) as refusal:
        message = str(refusal)
        place = f"{operation}({arguments[0]} = {what}): {type(refusal).__name__}: {message}"
        assert "\n" not in message, place
        assert 10 < len(message) < 400, place
        assert message.startswith(operation), f"does not name the operation: {place}"
        names = "|".join(map(re.escape, arguments))
        assert re.search(rf"\b({names})\b", message), f"does not name the argument: {place}"
        return True
    return False


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_argument_of_every_operation(operation, backend):
    op = getattr(F, operation)
    refused = 0
    for case in catalogue.cases(np.random.default_rng(3))[operation]:
        bound = inspect.signature(op).bind(*case.inputs, **case.settings)
        bound.apply_defaults()
        for argument in bound.arguments:
            for what, wrong in WRONG.items():
                given = copy.deepcopy(dict(bound.arguments)) | {argument: wrong}
                before = copy.deepcopy(arrays_in(list(given.values())))
                # an array of other sizes fits none of the others: any of them may be the one that is named
                blamed = [argument, *bound.arguments] if isinstance(wrong, np.ndarray) else [argument]
                was_refused = refused_clearly(lambda g=given: op(**g), operation, blamed, what)
                refused += was_refused
                if was_refused:
                    for old, new in zip(before, arrays_in(list(given.values()))):
                        np.testing.assert_array_equal(old, new)
    assert refused > 20


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_upstream_gradient_and_context(operation, backend):
    op, op_backward = getattr(F, operation), getattr(F, f"{operation}_backward")
    case = catalogue.cases(np.random.default_rng(3))[operation][0]
    y, ctx = op(*case.inputs, **case.settings)
    right = np.ones_like(y)[()] if np.ndim(y) == 0 else np.ones_like(y)
    name = f"{operation}_backward"
    for what, wrong in WRONG.items():
        refused = refused_clearly(lambda w=wrong: op_backward(w, ctx), name, ["dy"], what)
        assert refused or np.ndim(y) == 0, f"{name} took {what} for dy"
        assert refused_clearly(lambda w=wrong: op_backward(right, w), name, ["ctx"], what), (
            f"{name} took {what} for ctx"
        )
    for wrong in (right[..., None] if np.ndim(y) else np.ones(2), np.ones_like(right, dtype=np.float32)):
        if np.ndim(y):
            assert refused_clearly(lambda w=wrong: op_backward(w, ctx), name, ["dy"], "another shape or dtype")
    other = (F.relu if operation != "relu" else F.tanh)(np.ones(3))[1]
    assert refused_clearly(lambda: op_backward(right, other), name, ["ctx"], "the context of another operation")
    with minicnn.no_grad():
        none = op(*case.inputs, **case.settings)[1]
    assert refused_clearly(lambda: op_backward(right, none), name, ["ctx"], "None from no_grad")
