"""Every convolution of ResNet18 and of the small network, forward and backward, beside torch in both layouts."""

from harness import OURS, PEERS, TORCH, stand

from minicnn.bench.operations import PHASES, case_of, convolutions, resnet_convolutions, small_convolutions


def subjects(sizes):
    for layers, batches in (
        (resnet_convolutions(sizes["image"]), sizes["batches"]),
        (small_convolutions(sizes["small_image"]), sizes["small_batches"]),
    ):
        for operation in convolutions(layers, batches):
            for phase in PHASES:
                name = f"{operation.label} {phase} batch {operation.batch}"
                yield name, [OURS, *TORCH], case_of, operation, phase, PEERS


def test_convolution(benchmark, subject):
    stand(benchmark, *subject)
