"""Bad calls: the documented exception, in one line that names the operation and the argument; nothing is changed."""

import numpy as np
import pytest


def check_refusals(op, op_backward, good, refused):
    """A test that runs once a row (id, changed arguments, exception, name in the message) of `refused`.

    `good` are arguments that are accepted. A row changes some of them, or `dy` or `ctx` of the backward.
    """

    @pytest.mark.parametrize(
        ("changed", "error", "name"), [row[1:] for row in refused], ids=[row[0] for row in refused]
    )
    def test_refusals(backend, changed, error, name):
        y, ctx = op(**good)
        before = {key: value.copy() for key, value in (good | changed).items() if isinstance(value, np.ndarray)}
        if {"dy", "ctx"} & changed.keys():
            with pytest.raises(error) as caught:
                op_backward(changed.get("dy", y), changed.get("ctx", ctx))
        else:
            with pytest.raises(error) as caught:
                op(**(good | changed))
        message = str(caught.value)
        assert type(caught.value) is error
        assert message.startswith(op.__name__)
        assert name in message
        assert "\n" not in message
        assert len(message) < 400
        for key, array in before.items():
            np.testing.assert_array_equal((good | changed)[key], array)

    return test_refusals
