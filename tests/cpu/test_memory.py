"""Memory used again: never while anybody refers to it, and given back when sizes change."""

import threading

import numpy as np
import pytest

from minicnn import functional as F
from minicnn.backends.cpu import memory

LARGE = (64, 1024)  # float32: four times LEAST


def address(array):
    return array.__array_interface__["data"][0]


def test_what_nobody_refers_to_is_used_again():
    array = memory.empty(LARGE, np.float32)
    place = address(array)
    del array
    assert address(memory.empty(LARGE, np.float32)) == place
    assert address(memory.empty((32, 1024), np.float64)) == place  # of the same size in bytes


@pytest.mark.parametrize(
    "view", [lambda a: a[3:, ::2], lambda a: a.reshape(-1).view(np.int32)[1:], memoryview, lambda a: [a.T]]
)
def test_what_somebody_refers_to_is_not(view):
    array = memory.empty(LARGE, np.float32)
    place, kept = address(array), view(array)
    del array
    others = [memory.empty(LARGE, np.float32) for _ in range(3)]
    assert place not in [address(other) for other in others]
    del kept
    assert address(memory.empty(LARGE, np.float32)) == place


def test_results_stand_while_later_calls_compute():
    x = np.random.default_rng(0).standard_normal((4, 64, 32, 32)).astype(np.float32)
    first, _ = F.relu(x)
    before = first.copy()
    for _ in range(3):
        F.relu(-x)
    np.testing.assert_array_equal(first, before)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_large_arrays_are_plain_and_aligned(dtype):
    array = memory.empty(LARGE, dtype)
    assert array.shape == LARGE and array.dtype == dtype and type(array) is np.ndarray
    assert array.flags.carray and address(array) % memory.ALIGNMENT == 0


def test_small_arrays_are_their_own():
    assert memory.empty((3, 4), np.float32).flags.owndata


def test_unused_memory_of_other_sizes_is_given_back(monkeypatch):
    monkeypatch.setattr(memory, "_held", {})  # nothing of other tests, which may be in use

    def held():
        return sum(size * len(blocks) for size, blocks in memory._held.items())

    memory.empty((memory.UNUSED_MOST + memory.GRAIN,), np.uint8)  # used by nobody from here on
    memory.empty((memory.LEAST + 7 * memory.GRAIN,), np.uint8)
    assert held() <= memory.UNUSED_MOST


def test_two_threads_never_get_the_same_memory():
    wrong = []

    def work(value):
        for _ in range(300):
            array = memory.empty(LARGE, np.float32)
            array.fill(value)
            if not (array == value).all():
                wrong.append(value)

    threads = [threading.Thread(target=work, args=(value,)) for value in (1, 2, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
