"""Convolutions beside PyTorch: every layer shape of ResNet18 and of a small CNN, forward and backward, in one process.

    python benchmarks/conv_layers.py                          # everything, batch 1, 8 and 32
    python benchmarks/conv_layers.py --batch 8 --only 3x3     # some of it

Each line is validated against float64 before it is timed. Ours and torch's calls take turns; a turn begins with a call
that is not timed, which also waits until the other library's threads have gone to sleep. torch gets NCHW and
channels_last arrays, and the better of the two medians counts. "ratio" is torch's time by ours: above 1 we are faster.
"""

import argparse
import json
import math
import time

import numpy as np
import torch

import minicnn
from minicnn.backends import cpu
from minicnn.bench.peak import fma_peak

# name: channels, filters, size, kernel, stride, padding
RESNET18 = {
    "stem 7x7/2 3>64@224": (3, 64, 224, 7, 2, 3),
    "3x3 64@56": (64, 64, 56, 3, 1, 1),
    "3x3/2 64>128@56": (64, 128, 56, 3, 2, 1),
    "1x1/2 64>128@56": (64, 128, 56, 1, 2, 0),
    "3x3 128@28": (128, 128, 28, 3, 1, 1),
    "3x3/2 128>256@28": (128, 256, 28, 3, 2, 1),
    "1x1/2 128>256@28": (128, 256, 28, 1, 2, 0),
    "3x3 256@14": (256, 256, 14, 3, 1, 1),
    "3x3/2 256>512@14": (256, 512, 14, 3, 2, 1),
    "1x1/2 256>512@14": (256, 512, 14, 1, 2, 0),
    "3x3 512@7": (512, 512, 7, 3, 1, 1),
}
SMALL = {"small 3x3 1>32@28": (1, 32, 28, 3, 1, 1), "small 3x3 32>64@14": (32, 64, 14, 3, 1, 1)}
MORE = {"1x1 256>64@56": (256, 64, 56, 1, 1, 0), "small 3x3 32>64@28": (32, 64, 28, 3, 1, 1)}
PASSES = ("forward", "dx", "dweight", "backward")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, nargs="*", default=[1, 8, 32])
    parser.add_argument("--only", default="", help="layers whose name contains this")
    parser.add_argument("--passes", nargs="*", default=["forward", "backward"], choices=PASSES)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    torch.set_num_threads(minicnn.get_num_threads())
    peak = fma_peak(minicnn.get_num_threads())
    print(f"{minicnn.get_num_threads()} threads, FMA peak {peak:.0f} GFLOP/s, torch {torch.__version__}")
    print(
        f"{'layer':22}{'batch':>6} {'pass':9}{'ms':>9}{'GFLOP/s':>9}"
        f"{'of peak':>8}{'torch ms':>10}{'ratio':>7}{'error':>9}"
    )
    lines = []
    for name, layer in {**RESNET18, **SMALL, **MORE}.items():
        for batch in options.batch:
            for which in options.passes:
                if options.only in name:
                    lines.append(line := measure(name, layer, batch, which, options.rounds, peak))
                    print(
                        f"{name:22}{batch:6} {which:9}{line['ms']:9.3f}{line['gflops']:9.0f}{line['of_peak']:8.0%}"
                        f"{line['torch_ms']:10.3f}{line['ratio']:7.2f}{line['error']:9.1e}",
                        flush=True,
                    )
    for which in options.passes:
        ratios = [line["ratio"] for line in lines if line["pass"] == which]
        if ratios:
            print(f"{which}: geometric mean {math.exp(np.log(ratios).mean()):.2f}, least {min(ratios):.2f}")
    if options.json:
        with open(options.json, "w") as file:
            json.dump({"peak_gflops": peak, "lines": lines}, file, indent=1)


def measure(name, layer, batch, which, rounds, peak):
    C, F, size, k, stride, padding = layer
    rng = np.random.default_rng(0)
    out = (size + 2 * padding - k) // stride + 1
    x = rng.standard_normal((batch, C, size, size), np.float32)
    weight = rng.standard_normal((F, C, k, k), np.float32) / np.float32((C * k * k) ** 0.5)
    dy = rng.standard_normal((batch, F, out, out), np.float32)
    ours = our_call(which, x, weight, dy, stride, padding)
    truth = torch_call(which, *(torch.from_numpy(a).double() for a in (x, weight, dy)), stride, padding)()
    error = max(float(np.abs(a - t.numpy()).max() / t.abs().max()) for a, t in zip(ours(), truth))
    assert error < 5e-5, f"{name}: the error is {error:.1e} of the largest value"
    del truth
    plain = [torch.from_numpy(a) for a in (x, weight, dy)]
    last = [a.contiguous(memory_format=torch.channels_last) for a in plain]
    calls = [ours, torch_call(which, *plain, stride, padding), torch_call(which, *last, stride, padding)]
    seconds, *theirs = interleaved(calls, rounds)
    flop = 2 * batch * F * out * out * C * k * k * (2 if which == "backward" else 1)
    return {
        "layer": name, "batch": batch, "pass": which, "ms": seconds * 1e3, "gflops": flop / seconds / 1e9,
        "of_peak": flop / seconds / 1e9 / peak, "torch_ms": min(theirs) * 1e3, "ratio": min(theirs) / seconds,
        "error": error,
    }  # fmt: skip


def our_call(which, x, weight, dy, stride, padding):
    settings = ((stride, stride), (padding,) * 4, (1, 1), 1)
    calls = {
        "forward": lambda: (cpu.conv2d_forward(x, weight, None, *settings),),
        "dx": lambda: (cpu.conv2d_input_grad(dy, weight, x.shape, *settings),),
        "dweight": lambda: (cpu.conv2d_weight_grad(dy, x, weight.shape, *settings),),
    }
    calls["backward"] = lambda: (*calls["dx"](), *calls["dweight"]())
    return calls[which]


def torch_call(which, x, weight, dy, stride, padding):
    """The same in torch; its backward is the one call that autograd makes."""
    if which == "forward":
        return torch.inference_mode()(lambda: (torch.conv2d(x, weight, stride=stride, padding=padding),))
    wanted = [which != "dweight", which != "dx", False]

    def backward():
        settings = ([stride] * 2, [padding] * 2, [1, 1], False, [0, 0], 1)
        gradients = torch.ops.aten.convolution_backward(dy, x, weight, None, *settings, wanted)
        return tuple(g for g, want in zip(gradients, wanted) if want)

    return torch.inference_mode()(backward)


def interleaved(calls, rounds):
    """The median seconds of each call, taken in turns."""
    times = [[] for _ in calls]
    for _ in range(rounds):
        for call, mine in zip(calls, times):
            began = time.perf_counter()
            call()
            repeats = 3 if time.perf_counter() - began < 0.05 else 1
            for _ in range(repeats):
                began = time.perf_counter()
                call()
                mine.append(time.perf_counter() - began)
    return [float(np.median(mine)) for mine in times]


if __name__ == "__main__":
    main()
