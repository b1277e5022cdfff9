"""A whole training step on the cuda backend, in the simulator where there is no GPU, against the reference."""

import numpy as np
import pytest
from tolerance import assert_close

import minicnn
from minicnn import backends, nn, optim

pytestmark = pytest.mark.skipif(backends.why_missing("cuda") is not None, reason="needs numba-cuda")


def stepped(backend, optimizer, dtype):
    """Parameters and running statistics after two steps of a network with every kind of layer that trains."""
    minicnn.manual_seed(0)
    model = nn.Sequential(
        # no bias: that of a convolution before a batch norm has the gradient 0, whose rounding RMSprop would blow up
        nn.Conv2d(1, 2, 3, padding=1, bias=False), nn.BatchNorm2d(2), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(8, 3),
    ).astype(dtype)  # fmt: skip
    criterion, optimizer = nn.CrossEntropyLoss(), optimizer(model.parameters())
    x = np.random.default_rng(1).standard_normal((2, 1, 4, 4)).astype(dtype)
    with minicnn.backend(backend):
        for _ in range(2):
            criterion(model(x), np.array([0, 2]))
            optimizer.zero_grad()
            model.backward(criterion.backward(), need_dx=False)
            optimizer.step()
    return model.state_dict()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "optimizer",
    [
        lambda parameters: optim.SGD(parameters, lr=0.1, momentum=0.9, weight_decay=0.01, nesterov=True),
        lambda parameters: optim.RMSprop(parameters, lr=0.01, momentum=0.5, centered=True),
    ],
    ids=["sgd", "rmsprop"],
)
def test_two_steps_are_those_of_the_reference(optimizer, dtype):
    expected, actual = stepped("reference", optimizer, dtype), stepped("cuda", optimizer, dtype)
    for name, truth in expected.items():
        assert actual[name].dtype == truth.dtype
        assert_close(actual[name], truth.astype(np.float64), 1000, dtype, name)


def test_two_steps_repeat_bit_for_bit():
    def adam(parameters):
        return optim.AdamW(parameters, lr=0.01, amsgrad=True)

    first, second = stepped("cuda", adam, np.float32), stepped("cuda", adam, np.float32)
    for name, array in first.items():
        np.testing.assert_array_equal(array, second[name])
