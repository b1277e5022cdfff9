"""ResNet18 as an ONNX file: what ONNX Runtime and OpenVINO read. Needs the package onnx."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

Array = np.ndarray
STAGES = ("layer1", "layer2", "layer3", "layer4")


def write_resnet18(state: dict[str, Array], path: Path) -> None:
    """The network in eval mode, layer by layer as it stands: folding and fusing are left to whoever reads it."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    nodes = [helper.make_node(kind, inputs, [y], **settings) for kind, inputs, y, settings in _layers(state)]
    used = {name for node in nodes for name in node.input if name in state}
    graph = helper.make_graph(
        nodes, "resnet18",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, "H", "W"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", len(state["fc.bias"])])],
        [numpy_helper.from_array(np.ascontiguousarray(state[name]), name) for name in sorted(used)],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(path))


def _layers(state: dict[str, Array]) -> Iterator[tuple]:
    """(operator, inputs, output, settings) of each node, in order."""
    yield from _conv_norm(state, "x", "stem", "conv1", "bn1", 2)
    yield "Relu", ["stem"], "stem.relu", {}
    yield "MaxPool", ["stem.relu"], "pool", {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}
    x = "pool"
    for stage in STAGES:
        for block in (0, 1):
            at = f"{stage}.{block}"
            stride = 2 if block == 0 and stage != "layer1" else 1
            yield from _conv_norm(state, x, f"{at}.a", f"{at}.conv1", f"{at}.bn1", stride)
            yield "Relu", [f"{at}.a"], f"{at}.b", {}
            yield from _conv_norm(state, f"{at}.b", f"{at}.c", f"{at}.conv2", f"{at}.bn2", 1)
            shortcut = x
            if f"{at}.downsample.0.weight" in state:
                shortcut = f"{at}.d"
                yield from _conv_norm(state, x, shortcut, f"{at}.downsample.0", f"{at}.downsample.1", stride)
            yield "Add", [f"{at}.c", shortcut], f"{at}.sum", {}
            x = f"{at}.y"
            yield "Relu", [f"{at}.sum"], x, {}
    yield "GlobalAveragePool", [x], "mean", {}
    yield "Flatten", ["mean"], "features", {"axis": 1}
    yield "Gemm", ["features", "fc.weight", "fc.bias"], "y", {"transB": 1}


def _conv_norm(state: dict[str, Array], x: str, y: str, conv: str, norm: str, stride: int) -> Iterator[tuple]:
    k = state[f"{conv}.weight"].shape[-1]
    settings = {"kernel_shape": [k, k], "strides": [stride, stride], "pads": [k // 2] * 4}
    yield "Conv", [x, f"{conv}.weight"], f"{y}.conv", settings
    numbers = [f"{norm}.{name}" for name in ("weight", "bias", "running_mean", "running_var")]
    yield "BatchNormalization", [f"{y}.conv", *numbers], y, {"epsilon": 1e-5}
