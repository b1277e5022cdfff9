"""What became of the cuda kernels, compiled without a GPU: python benchmarks/cuda_kernels.py

One process runs every operation in the simulator without computing, to learn which kernels are launched with which
arguments; this one compiles them for --architecture (sm_90, Hopper) and prints for each its registers, the bytes it
spills, its vector loads, and whether the machine code takes the arguments that `compiled.flattened` gives.
Needs numba-cuda with its toolkit extra (`pip install 'minicnn[cuda13]'`). Kernels made at run time are left out.
"""

import argparse
import importlib
import json
import re
import subprocess
import sys
from importlib.util import find_spec
from types import SimpleNamespace

import numpy as np

SIGNATURES = "--list-signatures"
sys.path.pop(0)  # this folder, whose cuda.py would hide the package cuda


def listed() -> list[list]:
    """[module, name, kinds] of each kernel that the operations launch; must run in the simulator."""
    import minicnn
    from minicnn.backends.cuda import launch

    found = []

    def note(kernel, grid, block, args, shared):
        kinds = [_kind(arg) for arg in args]
        for module in [m for m in sys.modules.values() if getattr(m, "__name__", "").startswith("minicnn.backends")]:
            for name, value in vars(module).items():
                if value is kernel and [module.__name__, name, kinds] not in found:
                    found.append([module.__name__, name, kinds])

    launch._simulate = note
    with minicnn.backend("cuda"), np.errstate(all="ignore"):
        for dtype in (np.float32, np.float64):
            _operations(dtype)
            _optimisers(dtype)
    return found


def _kind(arg):
    """A kind of compiled.py in a form that JSON keeps."""
    if isinstance(arg, np.ndarray):
        return [arg.dtype.char, arg.ndim]
    if isinstance(arg, tuple):
        return len(arg)
    return arg.dtype.char if isinstance(arg, np.generic) else f"{type(arg).__name__}:"


def _operations(dtype):

    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 4, 9, 9)).astype(dtype)
    row, four = x[:, :, 0, 0].copy(), np.ones(4, dtype)
    weight, classes = rng.standard_normal((8, 4, 3, 3)).astype(dtype), np.array([1, 2])
    calls = [(name, (x,), {}) for name in ("relu", "leaky_relu", "sigmoid", "tanh", "gelu", "silu", "softmax")]
    calls += [
        ("log_softmax", (x,), {}), ("gelu", (x, "tanh"), {}), ("dropout", (x,), {"rng": rng}), ("add", (x, x), {}),
        ("max_pool2d", (x, 2), {}), ("avg_pool2d", (x, 2), {}), ("adaptive_avg_pool2d", (x, 1), {}),
        ("adaptive_avg_pool2d", (x, 2), {}), ("batch_norm", (x, four, four, four, four), {"training": True}),
        ("batch_norm", (x, four, four, four, four), {}), ("pad", (x, (1, 1, 1, 1)), {}),
        ("pad", (x, (1, 1, 1, 1), "reflect"), {}), ("interpolate", (x, 5), {"mode": "bilinear"}),
        ("concat", ([x, x],), {}), ("cross_entropy", (row, classes), {}), ("cross_entropy", (x, abs(x)), {}),
        ("nll_loss", (row, classes), {}), ("mse_loss", (x, x), {}), ("binary_cross_entropy_with_logits", (x, x), {}),
        ("conv2d", (x, weight), {"padding": 1}), ("conv2d", (x, weight, np.ones(8, dtype)), {"stride": 2}),
        ("conv2d", (x, weight[:4, :1].copy(), four), {"groups": 4}), ("linear", (row, weight[:, :, 0, 0], None), {}),
    ]  # fmt: skip
    for algorithm, (name, arguments, settings) in [("auto", call) for call in calls] + [("winograd", calls[-4])]:
        _both_ways(algorithm, name, arguments, settings)


def _both_ways(algorithm, name, arguments, settings):
    import minicnn
    from minicnn import functional as F

    with minicnn.conv_algorithm(algorithm):
        y, ctx = getattr(F, name)(*arguments, **settings)
        dy = y if isinstance(y, np.ndarray) else 1.0
        if name != "add":  # its backward copies
            getattr(F, f"{name}_backward")(dy, ctx)


def _optimisers(dtype):
    from minicnn import nn, optim

    parameter = nn.Parameter(np.ones(4, dtype))
    for optimizer in (optim.SGD([parameter], 0.1, 0.9), optim.Adam([parameter]), optim.RMSprop([parameter])):
        parameter.grad = np.ones(4, dtype)
        optimizer.step()


def compiled(module: str, name: str, kinds: list, architecture: str) -> dict:
    """What the compilers say of one kernel."""
    from cuda.bindings import nvjitlink
    from numba import cuda, types

    from minicnn.backends.cuda import compiled

    kernel = getattr(importlib.import_module(module), name)
    named = {"int:": int, "float:": float, "bool:": bool}
    kinds = [tuple(kind) if isinstance(kind, list) else named.get(kind, kind) for kind in kinds]
    options = [f"-arch={architecture}", "-O3", "-lto", "-Xptxas=-v"]
    handle = nvjitlink.create(len(options), options)
    code = compiled.intermediate(kernel.body, tuple(kinds), architecture, kernel.run.threads)
    nvjitlink.add_data(handle, nvjitlink.InputType.LTOIR, code, len(code), name)
    nvjitlink.complete(handle)
    log = bytearray(nvjitlink.get_info_log_size(handle))
    nvjitlink.get_info_log(handle, log)
    nvjitlink.destroy(handle)
    number = int(architecture.removeprefix("sm_"))
    signature = types.void(*map(compiled.numba_type, kinds))
    ptx, _ = cuda.compile_ptx(kernel.body, signature, cc=(number // 10, number % 10))
    said = log.decode()
    expected = sum(5 + 2 * k[1] if isinstance(k, tuple) else k if isinstance(k, int) else 1 for k in kinds)
    return {
        "kernel": f"{module.rpartition('.')[2]}.{name}",
        "dtypes": "".join(kind[0] for kind in kinds if isinstance(kind, tuple)),
        "registers": int(re.search(r"Used (\d+) registers", said).group(1)),
        "spilled": int(re.search(r"(\d+) bytes spill stores", said).group(1)),
        "vector_loads": len(re.findall(r"ld\.global\.v[24]", ptx)),
        "arguments_fit": ptx.count(".param .") == expected,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--architecture", default="sm_90")
    parser.add_argument("--json", action="store_true")
    parser.add_argument(SIGNATURES, action="store_true", help="what the first process does")
    options = parser.parse_args()
    if options.list_signatures:
        print(json.dumps(listed()))
        return 0
    if missing := [name for name in ("cupy", "numba_cuda", "cuda") if find_spec(name) is None]:
        print(f"nothing is compiled: {', '.join(missing)} cannot be found: pip install 'minicnn[cuda13]'")
        return 0
    command = ["env", "NUMBA_ENABLE_CUDASIM=1", sys.executable, __file__, SIGNATURES]
    signatures = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    from numba.cuda import dispatcher

    # device functions are compiled for the GPU at hand, and there may be none
    number = int(options.architecture.removeprefix("sm_"))
    dispatcher.get_current_device = lambda: SimpleNamespace(compute_capability=(number // 10, number % 10))
    reports = [compiled(*signature, options.architecture) for signature in signatures]
    for report in reports:
        print(json.dumps(report) if options.json else "  ".join(f"{key} {value}" for key, value in report.items()))
    return 0 if all(report["arguments_fit"] for report in reports) else 1


if __name__ == "__main__":
    sys.exit(main())
