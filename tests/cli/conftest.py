"""Commands set the backend and the number of threads for the process: each test leaves them as they were."""

import pytest

import minicnn


@pytest.fixture(autouse=True)
def same_machine():
    backend, threads = minicnn.get_backend(), minicnn.get_num_threads()
    yield
    minicnn.set_backend(backend)
    minicnn.set_num_threads(threads)
