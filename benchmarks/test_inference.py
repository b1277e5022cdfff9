"""Inference of ResNet18: minicnn.compile beside torch, ONNX Runtime and OpenVINO."""

import tempfile
from functools import lru_cache
from pathlib import Path

from harness import PEERS, stand

import minicnn
from minicnn.bench.engines import write_weights
from minicnn.bench.network import contestants, prediction


@lru_cache
def weights():
    folder = tempfile.TemporaryDirectory(prefix="minicnn-bench-")
    write_weights(Path(folder.name), PEERS)
    return folder  # removed when Python ends


def case(batch, image):
    return prediction(Path(weights().name), batch, image, PEERS, minicnn.get_num_threads())


def subjects(sizes):
    for batch in sizes["batches"]:
        yield f"batch {batch}", contestants(PEERS), case, batch, sizes["image"]


def test_inference(benchmark, subject):
    stand(benchmark, *subject)
