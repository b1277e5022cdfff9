"""The cuda backend beside PyTorch with cuDNN, on one GPU, in one call of a few minutes.

    python benchmarks/cuda.py                            # everything: products, layers, operations, training steps
    python benchmarks/cuda.py --only conv --batch 32     # some of it
    python benchmarks/cuda.py --json figures.json

Each line is checked against torch's float64 before it is timed, and its result must repeat to the bit. Times are
medians between CUDA events, after a warm-up. torch runs the same on the same arrays, first in float32 proper, then with
TF32 allowed, which rounds every factor to 10 bits of mantissa; "ratio" is torch's float32 time by ours: above 1 we are
faster. "of limit" is the share of what this GPU reached in the same run: cuBLAS's float32 rate for products, the
bandwidth of a copy for the rest. Arrays that stay in the L2 cache can exceed that bandwidth. Without a GPU it says what
is missing and measures nothing.
"""

import argparse
import json
import sys
from pathlib import Path

# Python looks for modules beside a script first, where this file's name hides NVIDIA's package `cuda`: to whoever asks
# for that from another script here (torch does), it is not installed; this script looks elsewhere for it.
if __name__ != "__main__":
    raise ImportError("benchmarks/cuda.py is a program, not the package cuda", name="cuda")
sys.path[:] = [folder for folder in sys.path if Path(folder or ".").resolve() != Path(__file__).resolve().parent]

import minicnn.functional as F  # noqa: E402
from minicnn.bench.gpu import EXACT, SECTIONS, Bench, missing  # noqa: E402
from minicnn.bench.operations import resnet_convolutions, small_convolutions  # noqa: E402

WINOGRAD = 1e-4  # the error it may have, relative to the largest output


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", choices=SECTIONS, default=SECTIONS)
    parser.add_argument("--batch", type=int, nargs="*", default=[32, 128], help="of the layers and operations")
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    if reason := missing():
        print(f"nothing is measured: {reason}")
        return 0
    bench = Bench()
    run = {"gemm": products, "conv": convolutions, "ops": operations, "step": steps}
    for section in options.only:
        run[section](bench, options.batch)
    print(*bars(bench.lines), sep="\n")
    if options.json:
        with open(options.json, "w") as file:
            json.dump({"machine": bench.machine, "lines": bench.lines}, file, indent=1)
    return 1 if any("ms" not in line for line in bench.lines) else 0


def products(bench, batches):
    """Square matrices in the orders of memory that a linear layer has: y, dx and dweight."""
    for n in (512, 1024, 2048, 4096):
        for order in ("A B", "A Bt", "At B"):
            product(bench, n, order)


def product(bench, n, order):
    from minicnn.backends.cuda.gemm import gemm

    a, b = bench.random(n, n), bench.random(n, n)
    a, b = a.T if order == "At B" else a, b.T if order == "A Bt" else b
    ta, tb = bench.tensor(a), bench.tensor(b)
    bench.product(
        "gemm", f"sgemm {n} {order}", lambda: (gemm(a, b),), lambda: (ta @ tb,), lambda: (ta.double() @ tb.double(),),
        2 * n**3,
    )  # fmt: skip


def convolutions(bench, batches):
    """Every convolution of ResNet18, and those of the small network at batch 128: y, dx, dweight.

    Layers that Winograd serves are measured both ways: whether `winograd.pays` is right is a question to a GPU.
    """
    for batch in batches:
        for name, layer in resnet_convolutions(224).items():
            both_algorithms(bench, name, layer, batch)
    for name, layer in small_convolutions(28).items():
        both_algorithms(bench, name, layer, 128)


def both_algorithms(bench, name, layer, batch):
    import minicnn

    k, stride = layer[3:5]
    for algorithm, allowed in [("im2col", EXACT), ("winograd", WINOGRAD)][: 2 if (k, stride) == (3, 1) else 1]:
        with minicnn.conv_algorithm(algorithm):
            convolution(bench, f"{name} {algorithm}", layer, batch, allowed)


def convolution(bench, name, layer, batch, allowed):
    from minicnn.backends import cuda

    C, filters, size, k, stride, padding = layer
    out = (size + 2 * padding - k) // stride + 1
    x, dy = bench.random(batch, C, size, size), bench.random(batch, filters, out, out)
    weight = bench.random(filters, C, k, k) / (C * k * k) ** 0.5
    settings = ((stride, stride), (padding,) * 4, (1, 1), 1)
    tensors = [bench.tensor(a) for a in (x, weight, dy)]
    doubles = [t.double() for t in tensors]
    work = 2 * batch * filters * out * out * C * k * k
    ours = {
        "forward": lambda: (cuda.conv2d_forward(x, weight, None, *settings),),
        "dx": lambda: (cuda.conv2d_input_grad(dy, weight, x.shape, *settings),),
        "dweight": lambda: (cuda.conv2d_weight_grad(dy, x, weight.shape, *settings),),
    }
    for which, call in ours.items():
        if which != "dx" or C > 3:  # nobody asks for the gradient of the images
            theirs, truth = (torch_convolution(which, *given, stride, padding) for given in (tensors, doubles))
            bench.product("conv", f"conv {name} batch {batch} {which}", call, theirs, truth, work, allowed)


def torch_convolution(which, x, weight, dy, stride, padding):
    import torch

    if which == "forward":
        return lambda: (torch.conv2d(x, weight, stride=stride, padding=padding),)
    wanted = [which == "dx", which == "dweight", False]
    settings = ([stride] * 2, [padding] * 2, [1, 1], False, [0, 0], 1)
    return lambda: [
        g for g in torch.ops.aten.convolution_backward(dy, x, weight, None, *settings, wanted) if g is not None
    ]


def operations(bench, batches):
    """What memory bounds: the other operations of ResNet18, forward and backward, and SGD on its parameters."""
    for batch in batches:
        for C, size in ((64, 112), (64, 56), (128, 28), (256, 14), (512, 7)):
            shape = (batch, C, size, size)
            relu(bench, shape)
            add(bench, shape)
            batch_norm(bench, shape)
        max_pool(bench, (batch, 64, 112, 112))
    sgd(bench)


def relu(bench, shape):
    import torch

    x, dy = bench.random(*shape), bench.random(*shape)
    bench.both_ways("relu", lambda: F.relu(x), lambda ctx: (F.relu_backward(dy, ctx),), torch.relu, [x], dy,
                    2 * x.nbytes, 3 * x.nbytes)  # fmt: skip


def add(bench, shape):
    import torch

    a, b, dy = bench.random(*shape), bench.random(*shape), bench.random(*shape)
    bench.both_ways("add", lambda: F.add(a, b), None, torch.add, [a, b], dy, 3 * a.nbytes, 0)


def batch_norm(bench, shape):
    """The statistics are needed before x can be normalised: forward reads x twice, backward dy and x."""
    import torch

    x, weight, bias, dy = bench.random(*shape), *(bench.random(shape[1]) for _ in range(2)), bench.random(*shape)

    def theirs(x, weight, bias):
        return torch.nn.functional.batch_norm(x, None, None, weight, bias, training=True)

    bench.both_ways(
        "batch_norm", lambda: F.batch_norm(x, None, None, weight, bias, training=True),
        lambda ctx: F.batch_norm_backward(dy, ctx), theirs, [x, weight, bias], dy, 3 * x.nbytes, 5 * x.nbytes,
    )  # fmt: skip


def max_pool(bench, shape):
    """That of the stem. Its indices are int64: two more arrays of the size of y."""
    import torch

    x, dy = bench.random(*shape), bench.random(*shape[:2], shape[2] // 2, shape[3] // 2)
    moved = x.nbytes + 3 * dy.nbytes
    bench.both_ways(
        "max_pool2d", lambda: F.max_pool2d(x, 3, 2, 1), lambda ctx: (F.max_pool2d_backward(dy, ctx),),
        lambda x: torch.nn.functional.max_pool2d(x, 3, 2, 1), [x], dy, moved, moved,
    )  # fmt: skip


def sgd(bench):
    """A step with momentum on the parameters of ResNet18: five arrays of their size are read or written."""
    import torch

    from minicnn import models, optim

    settings = {"lr": 1e-3, "momentum": 0.9}
    model = models.resnet18().to("cuda")

    def torch_step(dtype, fused):
        parameters = [torch.nn.Parameter(bench.tensor(p.data).to(dtype, copy=True)) for p in model.parameters()]
        for p in parameters:
            p.grad = p.detach() / 8
        optimizer = torch.optim.SGD(parameters, fused=fused, **settings)
        return lambda: (optimizer.step(), *(p.detach() for p in parameters))[1:]

    theirs, truth = torch_step(torch.float32, True), torch_step(torch.float64, False)
    for p in model.parameters():
        p.grad = p.data / 8
    optimizer = optim.SGD(model.parameters(), **settings)

    def ours():
        optimizer.step()
        return [p.data for p in model.parameters()]

    moved = 5 * sum(p.data.nbytes for p in model.parameters())
    bench.measure("ops", "SGD ResNet18", ours, theirs, truth, moved, bench.bandwidth, repeats=False)


def steps(bench, batches):
    """Whole training steps at batch 128, one operation after the other and as a graph; the images are on the GPU."""
    training_step(bench, "SimpleCNN", (128, 1, 28, 28), 10)
    training_step(bench, "ResNet18", (128, 3, 224, 224), 1000)


def training_step(bench, name, shape, classes):
    """Forward, cross-entropy, backward, SGD with momentum; checked by the loss and the outer gradients of a step."""
    import numpy as np
    import torch

    from minicnn.bench import torch_peer
    from minicnn.bench.steps import MOMENTUM, RATE, flops, our_graph, our_network, our_step, torch_network
    from minicnn.training.graphed import RUNS

    x, target = bench.random(*shape), np.random.default_rng(1).integers(0, classes, shape[0])
    images, answers = bench.tensor(x), torch.from_numpy(target).cuda()
    state = our_network(name, shape[2]).state_dict()
    work = 3.0 * shape[0] * flops(our_network(name, shape[2]), shape[1], shape[2])

    def ours(make):
        model = our_network(name, shape[2])
        model.load_state_dict(state)
        return make(model.to("cuda"), x, target)

    def torch_step(dtype):
        theirs = torch_peer.with_weights(torch_network(name, shape[2]), state, torch_peer.NCHW).to("cuda", dtype)
        parameters = list(theirs.parameters())
        optimizer = torch.optim.SGD(parameters, lr=RATE, momentum=MOMENTUM, fused=True)

        def step():
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(theirs(images.to(dtype)), answers)
            loss.backward()
            optimizer.step()
            return loss.detach(), parameters[0].grad, parameters[-2].grad

        return step

    for form, make, before in (("step", our_step, 0), ("graph", our_graph, RUNS)):
        call, truth = ours(make), torch_step(torch.float64)
        for _ in range(before):  # a graph is captured after so many steps
            call(), truth()
        title = f"{name} {form}, batch {shape[0]}"
        bench.measure("step", title, call, torch_step(torch.float32), truth, work, bench.flops, 5e-2, repeats=False)
        if name == "SimpleCNN":
            memory(bench, title, call)


def memory(bench, title, call):
    """CuPy's pool holds as much after 1,000 steps as after 10."""
    import cupy

    pool = cupy.get_default_memory_pool()

    def held(steps):
        for _ in range(steps):
            call()
        return pool.used_bytes(), pool.total_bytes()

    few, many = held(10), held(1000)
    print(f"{title}: {many[0]} bytes used and {many[1]} held after 1,000 steps, {few[0]} and {few[1]} after 10")
    if few != many:
        bench.lines.append({"section": "step", "name": f"{title}: memory grows"})


def bars(lines):
    """What was aimed at, beside what came."""
    found = {line["name"]: line for line in lines if "ms" in line}
    memory = [line for line in found.values() if line["section"] == "ops"]
    if memory:
        least = min(memory, key=lambda line: line["of_limit"])
        yield f"memory-bound operations: least {least['of_limit']:.0%} of the copy, {least['name']} (bar 80%)"
    for name, bar in (
        ("sgemm 4096 A B", 0.6),
        ("ResNet18 step, batch 128", 0.5),
        ("ResNet18 graph, batch 128", 0.5),
        ("SimpleCNN step, batch 128", 1.0),
        ("SimpleCNN graph, batch 128", 1.0),
    ):
        if name in found:
            yield f"{name}: torch float32's time by ours {found[name]['ratio']:.2f} (bar {bar})"


if __name__ == "__main__":
    sys.exit(main())
