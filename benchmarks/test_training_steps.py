"""Whole training steps of the small network and of ResNet18, beside torch in both layouts."""

from harness import OURS, PEERS, TORCH, stand

from minicnn.bench.steps import training_step


def subjects(sizes):
    for network, image, batches in (
        ("SimpleCNN", sizes["small_image"], sizes["small_batches"]),
        ("ResNet18", sizes["image"], sizes["step_batches"]),
    ):
        for batch in batches:
            yield f"{network} batch {batch}", [OURS, *TORCH], training_step, network, image, batch, PEERS


def test_training_step(benchmark, subject):
    stand(benchmark, *subject)
