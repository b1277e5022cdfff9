"""How benchmarks/cuda.py checks and times: against torch's float64, between CUDA events."""

import statistics

import numba

from ..backends import why_missing

SECTIONS = ("gemm", "conv", "ops", "step")
EXACT = 5e-6  # allowed error, relative to the largest number of a result
SAMPLES, SAMPLE_MS = 15, 2.0
COLUMNS = {
    "ms": "9.3f", "rate": "9.0f", "of_limit": "9.0%", "torch_ms": "9.3f", "tf32_ms": "9.3f", "ratio": "7.2f",
    "error": "9.1e",
}  # fmt: skip


def missing() -> str | None:
    """What keeps this machine from measuring."""
    if numba.config.ENABLE_CUDASIM:
        return "this process runs numba-cuda's simulator"
    if reason := why_missing("cuda"):
        return reason
    try:
        import torch
    except ImportError:
        return "the peer is PyTorch, which is not installed"
    return None if torch.cuda.is_available() else "this PyTorch sees no GPU"


class Bench:
    """The limits of this GPU, measured first, and the lines so far. A call returns a tuple of arrays."""

    def __init__(self):
        import cupy
        import torch

        torch.backends.cudnn.benchmark = True  # cuDNN takes the fastest of its algorithms
        self.lines = []
        self._random = torch.Generator("cuda").manual_seed(0)  # CuPy's needs cuRAND, which its wheel does not bring
        self.bandwidth, self.flops = copy_bandwidth(), cublas_rate()
        name = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.Device().id)["name"].decode()
        self.machine = (
            f"{name}: copies at {self.bandwidth:.0f} GB/s, cuBLAS sgemm 8192 at {self.flops:.0f} GFLOP/s, "
            f"torch {torch.__version__}, CuPy {cupy.__version__}"
        )
        print(self.machine)
        print(f"{'':46}{'ms':>9}{'rate':>9}{'of limit':>9}{'torch ms':>9}{'TF32 ms':>9}{'ratio':>7}{'error':>9}")

    def random(self, *shape):
        """Normal float32 numbers on the GPU."""
        import cupy
        import torch

        return cupy.asarray(torch.randn(shape, generator=self._random, device="cuda"))

    def tensor(self, a):
        """An array of CuPy as a tensor that shares its memory; a number of NumPy as a tensor."""
        import torch

        return a.detach() if isinstance(a, torch.Tensor) else torch.as_tensor(a, device="cuda")

    def product(self, section, name, ours, theirs, truth, work, allowed=EXACT):
        """Something whose limit is arithmetic: work in floating-point operations."""
        self.measure(section, name, ours, theirs, truth, work, self.flops, allowed)

    def both_ways(self, name, ours, ours_back, theirs, inputs, dy, moved, moved_back):
        """An operation and its backward (None: there is none), whose limit is memory: bytes moved at least.

        ours() gives (y, ctx), ours_back(ctx) the gradients of the inputs.
        """
        import torch

        name = f"{name} {'x'.join(map(str, inputs[0].shape))}"
        tensors = [self.tensor(a).clone().requires_grad_() for a in inputs]
        doubles = [t.detach().double().requires_grad_() for t in tensors]

        def forward(leaves):
            with torch.no_grad():
                return (theirs(*leaves),)

        self.measure("ops", name, lambda: ours()[:1], lambda: forward(tensors), lambda: forward(doubles), moved,
                     self.bandwidth)  # fmt: skip
        if ours_back is None:
            return
        ctx, y, exact = ours()[1], theirs(*tensors), theirs(*doubles)
        upstream = self.tensor(dy)

        def gradients(of, leaves):
            return torch.autograd.grad(of, leaves, upstream.to(of.dtype), retain_graph=True)

        self.measure("ops", f"{name} backward", lambda: ours_back(ctx), lambda: gradients(y, tensors),
                     lambda: gradients(exact, doubles), moved_back, self.bandwidth)  # fmt: skip

    def measure(self, section, name, ours, theirs, truth, work, limit, allowed=EXACT, repeats=True):
        """Check and time one thing. repeats: its result must be the same, to the bit, each time."""
        allow_tf32(False)
        error = self.worst(ours(), truth())
        same = not repeats or self.same_bits(ours(), ours())
        line = {"section": section, "name": name, "error": error}
        self.lines.append(line)
        if error > allowed or not same:
            print(f"{name:46} WRONG: error {error:.1e}, allowed {allowed:.0e}; repeats to the bit: {same}", flush=True)
            return
        line["ms"], line["torch_ms"] = time_of(ours), time_of(theirs)
        allow_tf32(True)
        line["tf32_ms"] = time_of(theirs)
        line["rate"] = work / line["ms"] / 1e6
        line["of_limit"], line["ratio"] = line["rate"] / limit, line["torch_ms"] / line["ms"]
        print(f"{name:46}" + "".join(format(line[column], form) for column, form in COLUMNS.items()), flush=True)

    def worst(self, found, truth):
        """The largest error of several arrays, each relative to its largest number; NaN is infinitely wrong."""
        errors = []
        for a, exact in zip(found, truth, strict=True):
            off = (self.tensor(a).double() - exact).abs().max() / exact.abs().max()
            errors.append(float("inf") if off.isnan() else off.item())
        return max(errors)

    def same_bits(self, first, second):
        return all(bool((self.tensor(a) == self.tensor(b)).all()) for a, b in zip(first, second, strict=True))


def copy_bandwidth():
    """GB/s of a copy of 1 GiB, bytes read plus bytes written."""
    import cupy

    source = cupy.ones(1 << 28, "float32")
    target = cupy.empty_like(source)
    return 2 * source.nbytes / time_of(lambda: cupy.copyto(target, source)) / 1e6


def cublas_rate():
    """GFLOP/s of cuBLAS's float32 product of 8192 × 8192 random numbers, without TF32."""
    import torch

    allow_tf32(False)
    a = torch.randn(8192, 8192, device="cuda")
    return 2 * 8192**3 / time_of(lambda: a @ a) / 1e6


def allow_tf32(allowed):
    import torch

    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = allowed


def time_of(call):
    """Median milliseconds of a call: samples of about SAMPLE_MS between two events, after a few calls."""
    import cupy

    def sample(repeats):
        began, ended = cupy.cuda.Event(), cupy.cuda.Event()
        began.record()
        for _ in range(repeats):
            call()
        ended.record()
        ended.synchronize()
        return cupy.cuda.get_elapsed_time(began, ended) / repeats

    sample(3)  # compiles, and lets cuDNN choose
    repeats = max(1, min(200, int(SAMPLE_MS / sample(1))))
    return statistics.median(sample(repeats) for _ in range(SAMPLES))
