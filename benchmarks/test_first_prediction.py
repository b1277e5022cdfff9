"""ResNet18 in a process of its own: from its start to the end after one prediction; peak memory, installed size."""

from pathlib import Path

from harness import PEERS
from test_inference import weights

import minicnn
from minicnn.bench import children
from minicnn.bench.network import contestants


def subjects(sizes):
    yield "ResNet18", contestants(PEERS), sizes


def test_first_prediction(benchmark, subject):
    who, sizes = subject
    folder, threads, image = Path(weights().name), minicnn.get_num_threads(), sizes["image"]
    benchmark.group = "first prediction"
    benchmark.extra_info["installed_bytes"] = children.installed_bytes(who.split()[0])
    for batch in sizes["batches"]:
        peak = children.inference_memory(folder, who, threads, batch, image)
        benchmark.extra_info[f"peak_bytes_batch_{batch}"] = peak
    benchmark.pedantic(children.first_prediction, (folder, who, threads, image), rounds=3, warmup_rounds=1)
