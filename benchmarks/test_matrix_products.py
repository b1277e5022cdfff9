"""linear on square matrices, forward and backward, beside torch (MKL) and NumPy (OpenBLAS)."""

from harness import OURS, PEERS, TORCH, stand

from minicnn.bench.operations import PHASES, case_of, matrix_products


def subjects(sizes):
    for operation in matrix_products((64,) if sizes["image"] < 224 else (256, 512, 1024, 2048)):
        for phase in PHASES:
            yield f"{operation.label} {phase}", [OURS, *TORCH[:1], "numpy"], case_of, operation, phase, PEERS


def test_matrix_product(benchmark, subject):
    stand(benchmark, *subject)
