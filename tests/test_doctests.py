"""Every example in a docstring of the package is run, and every operation has one."""

import doctest
import importlib
import pkgutil

import pytest

import minicnn
from minicnn import functional


def modules():
    for found in pkgutil.walk_packages(minicnn.__path__, "minicnn."):
        if not found.name.endswith("__main__") and not found.name.startswith("minicnn.backends.cuda"):
            yield found.name


@pytest.mark.parametrize("name", ["minicnn", *modules()])
def test_examples(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # what an example writes
    module = importlib.import_module(name)
    said = []
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    for test in doctest.DocTestFinder(exclude_empty=True).find(module, name):
        runner.run(test, out=said.append)
    assert runner.failures == 0, "".join(said)


OPERATIONS = sorted(name.removesuffix("_backward") for name in dir(functional) if name.endswith("_backward"))


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation_has_an_example_and_its_backward_a_docstring(name):
    assert ">>>" in (getattr(functional, name).__doc__ or "")
    assert (getattr(functional, f"{name}_backward").__doc__ or "").strip()


@pytest.mark.parametrize("name", ["minicnn", *modules()])
def test_every_module_says_what_it_is(name):
    assert (importlib.import_module(name).__doc__ or "").strip(), f"{name} has no docstring"
