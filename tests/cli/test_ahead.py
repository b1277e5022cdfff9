"""The second process that compiles during a first run: when it is started, what it runs, that it does not stay."""

from pathlib import Path

import pytest

from minicnn.backends.cpu import places
from minicnn.cli import ahead
from minicnn.cli.recipe import Recipe
from minicnn.cli.view import View

VIEW = View(tuple("0123456789"), 1, 8, (0.3,), (0.4,))


@pytest.fixture
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MINICNN_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(ahead.os, "cpu_count", lambda: 2)
    return places.cache_folder()


def test_only_with_an_empty_cache_that_can_be_written(empty_cache):
    assert ahead._worth_it(Recipe())
    assert not ahead._worth_it(Recipe(backend="reference"))
    assert not ahead._worth_it(Recipe(model="resnet18"))
    (empty_cache / "some.kernel").write_bytes(b"")
    assert not ahead._worth_it(Recipe())


def test_not_without_a_folder(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MINICNN_CACHE_DIR", str(tmp_path / "file" / "below"))
    assert not ahead._worth_it(Recipe())


def test_not_on_one_core(empty_cache, monkeypatch):
    monkeypatch.setattr(ahead.os, "cpu_count", lambda: 1)
    assert not ahead._worth_it(Recipe())


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_what_it_runs(optimizer):
    ahead.backward_first(optimizer, 4, 1, 8, 10)


def test_the_child_is_gone_afterwards(empty_cache, monkeypatch):
    started = []
    start = ahead._start
    monkeypatch.setattr(ahead, "_start", lambda recipe, view: started.append(start(recipe, view)) or started[-1])
    with ahead.compiling_ahead(Recipe(), VIEW):
        assert started[0].poll() is None
    assert started[0].poll() is not None
    assert not list(Path(empty_cache).glob("*.tmp"))
