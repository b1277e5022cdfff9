"""Fixtures of the tests of `inspect`."""

import pytest


@pytest.fixture(scope="module")
def browser():
    from explain_page import start

    driver = start()
    yield driver
    driver.quit()
