"""Pooling, batch norm, ReLU, sums, linear layers, the loss and the optimisers, beside torch."""

from harness import OURS, PEERS, TORCH, stand

from minicnn.bench.operations import PHASES, case_of, other_operations
from minicnn.bench.steps import NETWORKS, OPTIMIZERS, optimizer_step


def subjects(sizes):
    for operation in other_operations(sizes["image"], sizes["small_image"], sizes["batches"], sizes["small_batches"]):
        images = operation.name not in ("linear", "cross_entropy")
        for phase in PHASES[: len(operation.work)]:
            name = f"{operation.name} {operation.label} {phase} batch {operation.batch}"
            yield name, [OURS, *(TORCH if images else TORCH[:1])], case_of, operation, phase, PEERS
    for network in NETWORKS:
        for name in OPTIMIZERS:
            whos = [OURS, *(("torch", "torch fused") if TORCH else ())]
            yield f"{name} {network}", whos, optimizer_step, name, network, sizes["small_image"], PEERS


def test_operation(benchmark, subject):
    stand(benchmark, *subject)
