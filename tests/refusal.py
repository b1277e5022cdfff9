"""How a bad call must fail: the documented exception, one short line that names what is wrong, nothing changed."""

import numpy as np
import pytest


def assert_refused(error, named, call, *arrays):
    """call() raises `error` in one line under 400 characters that holds `named`; the arrays stay as they were."""
    before = [array.copy() for array in arrays]
    with pytest.raises(error) as caught:
        call()
    assert type(caught.value) is error, f"{type(caught.value).__name__}, expected {error.__name__}: {caught.value}"
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 400
    assert named in message, f"{named!r} is not named in: {message}"
    for array, copy in zip(arrays, before):
        np.testing.assert_array_equal(array, copy)
