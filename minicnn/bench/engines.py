"""Who can predict with ResNet18: each takes the same weights from a file and gives a function of the images.

Every loader does what a program that predicts would do, imports included, so that the same code serves the time from
process start to the first prediction.
"""

import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from .harness import OURS

Array = np.ndarray
Predict = Callable[[Array], Array]
Shape = tuple[int, int, int, int]  # of the images
PEERS = {
    "torch": ("torch", "torch channels_last", "torch optimize_for_inference"),
    "onnxruntime": ("onnxruntime",),
    "openvino": ("openvino",),
}
NEEDS = {"torch": ("torch",), "onnxruntime": ("onnxruntime", "onnx"), "openvino": ("openvino", "onnx")}


def missing(peer: str) -> str | None:
    """One line on what to install for a peer that cannot be used, else None."""
    absent = [name for name in NEEDS[peer] if find_spec(name) is None]
    if not absent:
        return None
    return f"{peer} is left out: {' and '.join(absent)} not installed (pip install 'minicnn[bench]')"


def write_weights(folder: Path, peers: list[str], state: dict[str, Array] | None = None) -> None:
    """The files that the loaders read: the same weights for everybody, random ones unless they are given."""
    from .. import manual_seed, models, save

    if state is None:
        manual_seed(0)
        model = models.resnet18()
        rng = np.random.default_rng(0)
        state = model.state_dict()
        for name, value in state.items():  # statistics that a trained network could have: folding them must matter
            if name.endswith("running_mean"):
                value[...] = rng.standard_normal(value.shape) / 8
            elif name.endswith("running_var"):
                value[...] = rng.uniform(0.5, 2, value.shape)
    save(state, folder / "resnet18.safetensors")
    if "torch" in peers:
        import torch

        torch.save({name: torch.tensor(value) for name, value in state.items()}, folder / "resnet18.pth")
    if "onnxruntime" in peers or "openvino" in peers:
        from .onnx_file import write_resnet18

        write_resnet18(state, folder / "resnet18.onnx")


def load(who: str, folder: Path, threads: int, shape: Shape) -> Predict:
    """The function of a contestant for images of this shape, (N, 3, H, W) to (N, 1000) logits."""
    if who == OURS:
        return _minicnn(folder, threads, shape)
    if who.startswith("torch"):
        return _torch(who, folder, threads, shape)
    return {"onnxruntime": _onnxruntime, "openvino": _openvino}[who](folder, threads)


def _minicnn(folder: Path, threads: int, shape: Shape) -> Predict:
    from .. import compile, models, nn, set_num_threads

    set_num_threads(threads)
    with nn.init.skip():
        model = models.resnet18()
    model.load_state_dict(folder / "resnet18.safetensors")
    return compile(model, shape)


def _torch(who: str, folder: Path, threads: int, shape: Shape) -> Predict:
    import torch

    from . import torch_peer

    torch.set_num_threads(threads)
    network = torch_peer.resnet18()
    network.load_state_dict(torch.load(folder / "resnet18.pth"))
    network.eval()
    layout = torch.channels_last if who.endswith("channels_last") else torch.contiguous_format
    network = network.to(memory_format=layout)
    if who.endswith("inference"):
        with warnings.catch_warnings(), torch.inference_mode():
            warnings.simplefilter("ignore")  # that torch.jit will go some day
            traced = torch.jit.freeze(torch.jit.trace(network, torch.zeros(shape)))
            network = torch.jit.optimize_for_inference(traced)

    def predict(x: Array) -> Array:
        with torch.inference_mode():
            return network(torch.from_numpy(x).contiguous(memory_format=layout)).numpy()

    return predict


def _onnxruntime(folder: Path, threads: int) -> Predict:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    path = str(folder / "resnet18.onnx")
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda x: session.run(None, {"x": x})[0]


def _openvino(folder: Path, threads: int) -> Predict:
    import openvino

    settings: dict[str, Any] = {
        "INFERENCE_NUM_THREADS": threads,
        "PERFORMANCE_HINT": "LATENCY",  # one request at a time on all threads; the other hint runs several at once
        "INFERENCE_PRECISION_HINT": "f32",  # else it may compute in bfloat16
    }
    compiled = openvino.Core().compile_model(str(folder / "resnet18.onnx"), "CPU", settings)
    request = compiled.create_infer_request()
    return lambda x: np.array(next(iter(request.infer({"x": x}).values())))
