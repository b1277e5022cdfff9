"""The matrix product of the cpu backend and the linear layer on it."""

import numpy as np
import pytest
from tolerance import assert_close

import minicnn
from minicnn.backends import cpu, reference
from minicnn.backends.cpu.gemm import _plan, gemm

SHAPES = [
    (1, 1, 1), (8, 48, 256), (7, 47, 255), (9, 49, 257), (1, 1000, 512), (128, 10, 3136), (3, 5, 1000),
    (100, 3100, 20), (97, 130, 300), (1, 1, 5000), (33, 1, 70), (0, 4, 3), (4, 0, 3), (4, 3, 0),
]  # fmt: skip


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("transposes", ["", "a", "b", "ab"])
@pytest.mark.parametrize("shape", SHAPES)
def test_gemm(shape, transposes, dtype, rng):
    M, N, K = shape
    a = rng.standard_normal((K, M)).T if "a" in transposes else rng.standard_normal((M, K))
    b = rng.standard_normal((N, K)).T if "b" in transposes else rng.standard_normal((K, N))
    a, b = a.astype(dtype, order="K"), b.astype(dtype, order="K")
    truth = a.astype(np.float64) @ b.astype(np.float64)
    assert_close(gemm(a, b), truth, K, dtype)
    c = rng.standard_normal((M, N)).astype(dtype)
    truth += c
    gemm(a, b, out=c)
    assert_close(c, truth, K, dtype)


def test_strided_and_read_only_operands(rng):
    a, b = rng.standard_normal((40, 60))[::2, ::3], rng.standard_normal((20, 30))[:, ::-1]
    b.flags.writeable = False
    assert_close(gemm(a, b), a @ b, 20)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(1, 512, 1000), (2, 30, 20), (5, 64, 10), (32, 3136, 10), (128, 100, 77), (0, 3, 2)])
def test_linear(shape, dtype, rng):
    M, K, outputs = shape
    x, weight, bias, dy = (
        rng.standard_normal(s).astype(dtype) for s in ((M, K), (outputs, K), (outputs,), (M, outputs))
    )
    wide = [a.astype(np.float64) for a in (x, weight, bias, dy)]
    assert_close(cpu.linear_forward(x, weight, bias), reference.linear_forward(*wide[:3]), K, dtype)
    assert_close(cpu.linear_input_grad(dy, weight), reference.linear_input_grad(wide[3], wide[1]), outputs, dtype)
    assert_close(cpu.linear_weight_grad(dy, x), reference.linear_weight_grad(wide[3], wide[0]), M, dtype)
    assert_close(cpu.channel_sum(dy), reference.channel_sum(wide[3]), M, dtype)


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (3, 40, 1, 1), (4, 17), (0, 3, 2, 2), (2, 0, 3, 3), (2, 3, 0, 4)])
def test_channel_sum_and_bias(shape, rng):
    dy, bias = rng.standard_normal(shape), rng.standard_normal(shape[1])
    assert_close(cpu.channel_sum(dy), reference.channel_sum(dy), 40)
    y, expected = dy.copy(), dy.copy()
    cpu.add_channel_bias(y, bias)
    reference.add_channel_bias(expected, bias)
    np.testing.assert_array_equal(y, expected)


@pytest.mark.parametrize("shape", [(300, 200, 700), (1, 1000, 512), (10, 10, 10000), (37, 3500, 530)])
def test_same_bits_on_any_number_of_threads(shape, rng):
    M, N, K = shape
    a, b = rng.standard_normal((M, K), np.float32), rng.standard_normal((K, N), np.float32)
    before, results = minicnn.get_num_threads(), []
    try:
        for threads in (1, 2):
            minicnn.set_num_threads(min(threads, before))
            results.append(gemm(a, b).tobytes())
    finally:
        minicnn.set_num_threads(before)
    assert results[0] == results[1]


@pytest.mark.parametrize("threads", [1, 2, 3, 7, 64])
@pytest.mark.parametrize("pack_a", [False, True])
@pytest.mark.parametrize("shape", [(1, 1, 1), (5, 3000, 40), (3000, 5, 40), (130, 67, 1030), (2048, 2048, 2048)])
def test_the_parts_of_a_product_cover_it(shape, pack_a, threads):
    M, N, K = shape
    (rows, columns, count, own), (mc, kc, nc, nr, a_row, panel), size = _plan(M, N, K, 8, pack_a, threads)
    assert 1 <= count <= threads and count == -(-M // rows) * -(-N // columns)
    assert kc == _plan(M, N, K, 8, not pack_a, threads + 1)[1][1], "how the sums are cut must not depend on the threads"
    assert panel >= kc * nr and a_row >= kc and size == count * own
    assert own >= nc // nr * panel + pack_a * mc * a_row


def test_nan_times_zero_is_nan():
    assert np.isnan(gemm(np.zeros((3, 4), np.float32), np.full((4, 5), np.nan, np.float32))).all()
