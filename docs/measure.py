"""Measures the figures of the documentation's chapters into docs/figures.json: python docs/measure.py [NAME ...]

Each operation, forward and backward, by the fast backend, by the reference and by PyTorch, in turns; the median counts.
Without names all of them. Nothing else should run meanwhile. Takes a minute or two; needs torch.
"""

import json
import os
import sys
from pathlib import Path

os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "20")  # else NumPy's idle threads spin while others are timed

import numpy as np
import torch
import torch.nn.functional as TF

import minicnn
from minicnn import functional as F
from minicnn import nn, optim
from minicnn.bench.environment import processor
from minicnn.bench.harness import Effort, error, interleaved

FIGURES = Path(__file__).parent / "figures.json"
EFFORT = Effort(rounds=4, samples=3, seconds=0.4)
MAPS = (8, 64, 56, 56)
ALLOWED = 1e-4  # difference to PyTorch, of the largest value: what is not right is not timed


def random(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def maps():
    return [random(*MAPS)]


def filters():
    return [random(*MAPS), random(64, 64, 3, 3, seed=1) / np.float32(24), random(64, seed=2)]


def normed():
    return [random(*MAPS), np.zeros(64, np.float32), np.ones(64, np.float32), random(64), random(64, seed=1)]


def rows():
    return [random(128, 1000)]


def classes():
    return [random(128, 1000), np.random.default_rng(1).integers(0, 1000, 128)]


# name: (arrays, settings of minicnn, settings of PyTorch where they differ, the arrays with a gradient)
OPERATIONS = {
    "linear": (lambda: [random(128, 512), random(1000, 512, seed=1), random(1000)], {}, None, (0, 1, 2)),
    "conv2d": (filters, {"padding": 1}, None, (0, 1, 2)),
    "conv_transpose2d": (filters, {"padding": 1}, None, (0, 1, 2)),
    "relu": (maps, {}, None, (0,)),
    "leaky_relu": (maps, {}, None, (0,)),
    "sigmoid": (maps, {}, None, (0,)),
    "tanh": (maps, {}, None, (0,)),
    "silu": (maps, {}, None, (0,)),
    "gelu": (maps, {}, None, (0,)),
    "max_pool2d": (maps, {"kernel_size": 2}, None, (0,)),
    "avg_pool2d": (maps, {"kernel_size": 2}, None, (0,)),
    "adaptive_avg_pool2d": (maps, {"output_size": 1}, None, (0,)),
    "batch_norm": (normed, {"training": True}, None, (0, 3, 4)),
    "softmax": (rows, {"axis": 1}, {"dim": 1}, (0,)),
    "log_softmax": (rows, {"axis": 1}, {"dim": 1}, (0,)),
    "cross_entropy": (classes, {}, None, (0,)),
    "nll_loss": (classes, {}, None, (0,)),
    "mse_loss": (lambda: [random(128, 1000), random(128, 1000, seed=1)], {}, None, (0,)),
    "binary_cross_entropy_with_logits": (
        lambda: [random(128, 1000), np.float32(random(128, 1000, seed=1) > 0)], {}, None, (0,)
    ),
    "add": (lambda: [random(*MAPS), random(*MAPS, seed=1)], {}, None, (0, 1)),
    "dropout": (maps, {"p": 0.5}, None, (0,)),
    "pad": (maps, {"amounts": (1, 1, 1, 1), "mode": "reflect"}, {"pad": (1, 1, 1, 1), "mode": "reflect"}, (0,)),
    "interpolate": (maps, {"scale_factor": 2, "mode": "bilinear"}, None, (0,)),
}  # fmt: skip
OPTIMISERS = {"SGD": {"lr": 1e-4, "momentum": 0.9}, "Adam": {"lr": 1e-4}, "RMSprop": {"lr": 1e-4}}
PARAMETERS = 1_000_000


def measured(name):
    """{"shape", "forward": {who: seconds}, "backward": {…}}"""
    make, settings, theirs, wanted = OPERATIONS[name]
    arrays = make()
    op, back = getattr(F, name), getattr(F, f"{name}_backward")
    y, ctx = op(*arrays, **settings)
    dy = random(*np.shape(y), seed=3) if np.ndim(y) else y.dtype.type(1)
    function = torch.add if name == "add" else getattr(TF, name)
    tensors = [torch.tensor(array) for array in arrays]
    with torch.no_grad():
        out = function(*tensors, **(theirs or settings))
    if name != "dropout":  # draws other numbers there
        assert error(np.asarray(y), out.numpy()) < ALLOWED, name
    leaves = [tensors[i].clone().requires_grad_() for i in wanted]
    graph = function(
        *[leaves[wanted.index(i)] if i in wanted else t for i, t in enumerate(tensors)], **(theirs or settings)
    )
    upstream = torch.tensor(dy)

    def reference(call, *given, **more):
        with minicnn.backend("reference"):
            call(*given, **more)

    def forward():
        with torch.no_grad():
            function(*tensors, **(theirs or settings))

    times = {
        "forward": [
            lambda: op(*arrays, **settings), lambda: reference(op, *arrays, **settings), forward
        ],
        "backward": [
            lambda: back(dy, ctx), lambda: reference(back, dy, ctx),
            lambda: torch.autograd.grad(graph, leaves, upstream, retain_graph=True),
        ],
    }  # fmt: skip
    if name == "add":
        del times["backward"]  # torch hands dy on
    return {"shape": list(arrays[0].shape)} | {
        phase: dict(zip(("fast", "reference", "torch"), interleaved(calls, EFFORT))) for phase, calls in times.items()
    }


def measured_step(name):
    """The step of an optimiser on a million parameters."""

    def stepping(backend):
        parameter = nn.Parameter(random(PARAMETERS))
        parameter.grad = random(PARAMETERS, seed=1)
        optimizer = getattr(optim, name)([parameter], **OPTIMISERS[name])

        def step():
            with minicnn.backend(backend):
                optimizer.step()

        return step

    tensor = torch.nn.Parameter(torch.tensor(random(PARAMETERS)))
    tensor.grad = torch.tensor(random(PARAMETERS, seed=1))
    theirs = getattr(torch.optim, name)([tensor], **OPTIMISERS[name])
    seconds = interleaved([stepping("cpu"), stepping("reference"), theirs.step], EFFORT)
    return {"shape": [PARAMETERS], "forward": dict(zip(("fast", "reference", "torch"), seconds))}


def main(names):
    found = json.loads(FIGURES.read_text(encoding="utf-8")) if FIGURES.exists() else {"operations": {}}
    torch.set_num_threads(minicnn.get_num_threads())
    for name in names or [*OPERATIONS, *OPTIMISERS]:
        found["operations"][name] = measured_step(name) if name in OPTIMISERS else measured(name)
        print(name, found["operations"][name], flush=True)
    found["machine"] = f"{processor()}, {minicnn.get_num_threads()} threads, PyTorch {torch.__version__.split('+')[0]}"
    FIGURES.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
