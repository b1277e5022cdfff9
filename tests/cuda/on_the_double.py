"""What test_cupy.py runs in a process of its own: the whole path with the real CuPy, on the double of a driver.

Prints "done" and a name for each part.
"""

import ast
import gc
import os
import sys
import warnings
from operator import attrgetter
from pathlib import Path
from types import SimpleNamespace

import double as double_

gpu = double_.install()

import cupy  # noqa: E402
import numpy as np  # noqa: E402
from numba.cuda import dispatcher  # noqa: E402

import minicnn  # noqa: E402
from minicnn import functional as F  # noqa: E402
from minicnn import nn, optim  # noqa: E402
from minicnn.data import DataLoader, Digits  # noqa: E402
from minicnn.training import GraphedStep, Trainer  # noqa: E402

# device functions are compiled for the GPU at hand
dispatcher.get_current_device = lambda: SimpleNamespace(compute_capability=(9, 0))
TO_HOST = 2  # kind of a copy


def network():
    minicnn.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(3, 2, 1), nn.Flatten(),
        nn.Linear(128, 10),
    )  # fmt: skip


class Noise(nn.Module):
    """A module of one's own that draws in main memory, which GraphedStep finds out only when it captures."""

    def forward(self, x):
        y, ctx = F.dropout(x)
        self.keep(ctx)
        return y

    def backward(self, dy, need_dx=True):
        with self.kept() as ctx:
            return F.dropout_backward(dy, ctx)


def stepper(optimizer, graphed, *more):
    model = nn.Sequential(*network(), *more).to("cuda")
    step = GraphedStep(model, nn.CrossEntropyLoss(), optimizer(model.parameters()))
    x, target = cupy.ones((16, 1, 8, 8), np.float32), np.arange(16) % 10
    return (lambda: step(x, target)) if graphed else (lambda: step._eager(x, target)), step, model


def names():
    """What the code that tests cannot run (the benchmarks need a GPU) takes from CuPy is there."""
    package = Path(minicnn.__file__).parent
    files = [*package.glob("backends/cuda/*.py"), package / "bench/gpu.py", package.parent / "benchmarks/cuda.py"]
    found = {name for path in files for name in taken(ast.parse(path.read_text()))}
    assert "cupy.cuda.get_elapsed_time" in found and "xp.cuda.MemoryPool" in found
    for name in found:
        attrgetter(name.partition(".")[2])(cupy)


def taken(tree):
    """The dotted names that begin with cupy or xp."""
    for node in ast.walk(tree):
        chain, inner = [], node
        while isinstance(inner, ast.Attribute):
            chain.insert(0, inner.attr)
            inner = inner.value
        if chain and isinstance(inner, ast.Name) and inner.id in ("cupy", "xp"):
            yield ".".join([inner.id, *chain])


def operations():
    """Each operation, forward and backward, on arrays that lie in odd ways."""
    rng = np.random.default_rng(0)
    x = cupy.asarray(rng.standard_normal((4, 9, 2, 10)).astype(np.float32)).transpose(2, 0, 1, 3)[..., 1:]
    assert not x.flags.c_contiguous
    four, weight = cupy.ones(4, np.float32), cupy.asarray(rng.standard_normal((8, 4, 3, 3)).astype(np.float32))
    row, classes = cupy.ascontiguousarray(x[:, :, 0, 0]), np.array([1, 2])
    calls = [(name, (x,), {}) for name in ("relu", "leaky_relu", "sigmoid", "tanh", "gelu", "silu", "softmax")]
    calls += [
        ("log_softmax", (x,), {}), ("gelu", (x, "tanh"), {}), ("dropout", (x,), {"rng": rng}), ("add", (x, x), {}),
        ("max_pool2d", (x, 2), {}), ("avg_pool2d", (x, 2), {}), ("adaptive_avg_pool2d", (x, 1), {}),
        ("adaptive_avg_pool2d", (x, 2), {}), ("batch_norm", (x, four, four, four, four), {"training": True}),
        ("batch_norm", (x, four, four, four, four), {}), ("pad", (x, (1, 1, 1, 1)), {}), ("flatten", (x,), {}),
        ("pad", (x, (1, 1, 1, 1), "reflect"), {}), ("interpolate", (x, 5), {"mode": "bilinear"}),
        ("interpolate", (x, 5), {}), ("concat", ([x, x],), {}), ("cross_entropy", (row, classes), {}),
        ("cross_entropy", (row, classes), {"weight": four, "reduction": "sum", "label_smoothing": 0.1}),
        ("cross_entropy", (row, cupy.asarray(classes)), {"reduction": "none"}),
        ("cross_entropy", (x, abs(x)), {}), ("nll_loss", (row, classes), {}), ("mse_loss", (x, x), {}),
        ("binary_cross_entropy_with_logits", (x, x), {}), ("conv2d", (x, weight), {"padding": 1}),
        ("conv2d", (x, weight, cupy.ones(8, np.float32)), {"stride": 2}),
        ("conv2d", (x, weight[:4, :1].copy(), four), {"groups": 4}),
        ("conv_transpose2d", (x, weight[:4, :3].copy()), {"stride": 2}),
        ("linear", (row, weight[:, :, 0, 0], None), {}), ("conv2d", (x[:0], weight), {}),
    ]  # fmt: skip
    with minicnn.conv_algorithm("winograd"):
        calls_back(F.conv2d(x, weight, None, 1, 1), "conv2d")
    for name, arguments, settings in calls:
        calls_back(getattr(F, name)(*arguments, **settings), name)


def calls_back(result, name):
    y, ctx = result
    assert isinstance(y, cupy.ndarray), name
    dy = 1.0 if y.ndim == 0 else y.copy(order="F")
    gradients = getattr(F, f"{name}_backward")(dy, ctx)
    for gradient in gradients if isinstance(gradients, tuple) else (gradients,):
        assert gradient is None or (isinstance(gradient, cupy.ndarray) and gradient.flags.c_contiguous), name


def from_main_memory():
    """NumPy arrays with the setting "cuda" go there and back; so does a compiled model's input."""
    x = np.random.default_rng(0).standard_normal((2, 1, 8, 8)).astype(np.float32)
    with minicnn.backend("cuda"):
        y, ctx = F.conv2d(x, np.ones((3, 1, 3, 3), np.float32))
        assert isinstance(y, np.ndarray) and isinstance(F.conv2d_backward(y, ctx)[1], np.ndarray)
        loss, ctx = F.cross_entropy(y[:, :, 0, 0].copy(), np.array([0, 1]))
        assert isinstance(loss, np.float32) and isinstance(F.cross_entropy_backward(1.0, ctx), np.ndarray)
        model = network()
        optimizer = optim.RMSprop(model.parameters())
        GraphedStep(model, nn.CrossEntropyLoss(), optimizer)(x, np.array([0, 1]))
        assert isinstance(model[1].running_mean, np.ndarray)
        assert isinstance(minicnn.compile(model)(x), np.ndarray)


def training():
    """A loader whose batches are copied ahead, a model that moves there and back, and a loop left early."""
    loader = DataLoader(Digits(train=False), batch_size=64, shuffle=True, seed=1)
    for graph in (False, True):
        model = network().to("cuda")
        trainer = Trainer(model, nn.CrossEntropyLoss(), optim.SGD(model.parameters(), lr=0.05), graph=graph)
        trainer.fit(loader, loader, epochs=1)
    assert all(isinstance(array, np.ndarray) for array in model.state_dict().values())
    from minicnn.training.batches import batches_for

    ordered = DataLoader(Digits(train=False), batch_size=64)
    there = [x for x, _ in batches_for(model, ordered)]  # looked at late: no pinned memory was used again too early
    for x, (expected, _) in zip(there, ordered, strict=True):
        np.testing.assert_array_equal(x.get(), expected)
    for (x, _), (expected, _) in zip(batches_for(model, ordered), ordered, strict=True):
        np.testing.assert_array_equal(x.get(), expected)  # at once: the computing stream waits for the copy
    for _ in batches_for(model, ordered):
        break
    assert not any(gpu.pending.values()), "a loop that is left early leaves copies behind"
    assert isinstance(next(model.to("cpu").parameters()).data, np.ndarray)


def waiting():
    """A step on the GPU brings nothing back, waits for nothing, and allocates nothing once its memory is there."""
    for optimizer in (optim.Adam, optim.SGD):
        for graphed in (False, True):
            step, *_ = stepper(optimizer, graphed)
            for _ in range(8):
                step()
            calls, copies = gpu.calls.copy(), len(gpu.copies)
            step()
            asked = gpu.calls - calls
            for name in ("deviceSynchronize", "streamSynchronize", "eventSynchronize", "memcpy", "malloc", "free"):
                assert asked[name] == 0, (optimizer, graphed, name, asked)
            assert not [copy for copy in gpu.copies[copies:] if copy[0] == TO_HOST]


def graphs():
    """Captured once, then one launch a step; the launches in the graph are those of an eager step."""
    eager, *_ = stepper(optim.Adam, False)
    step, graphed, model = stepper(optim.Adam, True)
    for _ in range(3):
        eager()
        step()
    assert graphed.why_eager is None
    names = []
    for call in (eager, step):
        before = len(gpu.launches)
        call()
        names.append([launch[0] for launch in gpu.launches[before:] if not launch[0].startswith("cupy_copy")])
    assert names[0] == names[1], names
    assert gpu.calls["graphLaunch"] >= 2
    assert int(model[1].num_batches_tracked) == 4


def refused():
    """A step that cannot be captured is taken one operation after the other, and counted once."""
    step, graphed, model = stepper(optim.Adam, True, Noise())
    for _ in range(4):
        step()
    assert graphed.why_eager == "it cannot be captured: an operation takes an array from main memory"
    assert int(model[1].num_batches_tracked) == 4
    assert {entry["step"] for entry in graphed.optimizer.state.values()} == {4}
    assert not gpu.capturing


def leaks():
    """CuPy's pool holds as much after many steps as after a few."""
    pool = cupy.get_default_memory_pool()
    for graphed in (False, True):
        step, *_ = stepper(optim.Adam, graphed)

        def used(count, step=step):
            for _ in range(count):
                step()
            gc.collect()  # networks of the parts before
            return pool.used_bytes(), pool.total_bytes(), sum(size for _, size in gpu.memory.values())

        few, many = used(10), used(1000)
        assert few == many, (graphed, few, many)


def arguments():
    """The numbers that a kernel receives are those that were given."""
    from minicnn.backends.cuda.activation import _leaky_relu
    from minicnn.backends.cuda.maps import apply

    x = cupy.ones(5, np.float32)
    y = apply(_leaky_relu, x, setting=0.25)
    given = gpu.launches[-1][3]
    integers = [int.from_bytes(part, "little") for part in given[:-1]]
    assert integers == [0, 0, 5, 4, x.data.ptr, 5, 4, 0, 0, 5, 4, y.data.ptr, 5, 4]
    assert np.frombuffer(given[-1], np.float32)[0] == 0.25


def main():
    for part in (names, arguments, operations, from_main_memory, training, waiting, graphs, refused, leaks):
        part()
        print("done", part.__name__, flush=True)


if __name__ == "__main__":
    warnings.simplefilter("error", RuntimeWarning)
    main()
    sys.stdout.flush()
    os._exit(0)  # C would still call what Python has taken down
