"""Importing is cheap and runs one way: no compiler, no pictures, and no room that reaches up."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import minicnn

ROOMS = ("data", "functional", "inspect", "models", "nn", "optim", "training")
HEAVY = ("numba", "llvmlite", "matplotlib", "PIL", "torch", "tqdm")

# what each room may import of the others; a room may always import itself
MAY_IMPORT = {
    "random": set(),
    "files": set(),
    "backends": set(),
    "weights": set(),
    "data": {"random"},
    "functional": {"backends", "random"},
    "optim": {"functional", "backends", "nn"},
    "nn": {"functional", "backends", "random", "weights"},
    "models": {"nn", "functional", "weights"},
    "training": {"models", "nn", "optim", "functional", "backends", "data", "weights", "random", "files"},
    "inspect": {"models", "nn", "optim", "functional", "backends", "data", "weights", "random", "files"},
    "inference": {"models", "nn", "functional", "backends", "weights", "random"},
    "lab": {"inspect", "nn", "optim", "functional", "backends"},
}  # fmt: skip
# the rooms on top may use everything below them
BELOW = set(MAY_IMPORT)
MAY_IMPORT |= {"bench": BELOW, "cli": BELOW | {"bench"}}


def loaded_after(code, *names):
    """Which of the names are imported in a fresh process after the code."""
    script = f"{code}\nimport sys\nprint(*[name for name in {names!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=os.environ)
    return done.stdout.split()


def test_importing_the_package_loads_numpy_and_little_else():
    assert loaded_after("import minicnn", *HEAVY, "minicnn.nn", "minicnn.functional") == []


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_alone_without_compiler_and_pictures(room):
    assert loaded_after(f"import minicnn.{room}", "numba", "llvmlite", "matplotlib", "torch") == []


def test_the_reference_backend_computes_without_numba():
    code = """
import numpy as np, minicnn
minicnn.set_backend("reference")
y, ctx = minicnn.functional.relu(np.ones(3))
minicnn.functional.relu_backward(y, ctx)
"""
    assert loaded_after(code, "numba", "llvmlite") == []


@pytest.mark.parametrize("name", minicnn.__all__)
def test_every_public_name_is_reachable(name):
    assert name in dir(minicnn)
    assert getattr(minicnn, name) is not None


def test_rooms_are_attributes_without_an_import_of_their_own():
    rooms = ", ".join(f"minicnn.{room}" for room in ROOMS)
    assert loaded_after(f"import minicnn\n{rooms}", *[f"minicnn.{room}" for room in ROOMS]) == [
        f"minicnn.{room}" for room in ROOMS
    ]


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'convolve'"):
        minicnn.convolve  # noqa: B018


def imports_of(path, package):
    """The first part, below minicnn, of everything that a file of the package imports, at its head or later."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = [*package[: len(package) - node.level + 1]] if node.level else []
            stem = ".".join([*base, *([node.module] if node.module else [])])
            names = [f"{stem}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from (name.split(".")[1] for name in names if name.startswith("minicnn.") and "." in name)


def test_imports_run_one_way():
    home = Path(minicnn.__file__).parent
    wrong = []
    for path in sorted(home.rglob("*.py")):
        parts = path.relative_to(home).with_suffix("").parts
        if parts[0] == "__init__":
            continue
        package = ("minicnn", *parts[:-1])
        assert parts[0] in MAY_IMPORT, f"minicnn/{parts[0]} is a new room: MAY_IMPORT must say what it may import"
        allowed = MAY_IMPORT[parts[0]] | {parts[0], "__version__"}
        known = set(MAY_IMPORT)
        for room in imports_of(path, package):
            # a name that is no room (minicnn.load) comes through the lazy head of the package
            if room in known and room not in allowed:
                wrong.append(f"{'/'.join(parts)} imports {room}")
    assert not wrong, "\n".join(wrong)


def test_no_backend_imports_another():
    home = Path(minicnn.__file__).parent / "backends"
    for name in ("reference", "cpu", "cuda"):
        for path in sorted((home / name).rglob("*.py")):
            text = path.read_text(encoding="utf-8")
            for other in {"reference", "cpu", "cuda"} - {name}:
                assert f"backends.{other}" not in text, path
                assert f"from ..{other}" not in text, path
