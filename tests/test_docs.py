"""The documentation has a chapter for each operation. That it builds without warnings is a phase of its own in CI."""

import json
import re
from pathlib import Path

import pytest

from minicnn import functional

FOLDER = Path(__file__).parent.parent / "docs" / "operations"
CHAPTERS = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.md")}
OPERATIONS = sorted(name.removesuffix("_backward") for name in dir(functional) if name.endswith("_backward"))


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation_is_in_a_chapter_with_its_reference_and_its_fast_code(name):
    found = [text for text in CHAPTERS.values() if f"`minicnn.functional.{name}`" in text]
    assert len(found) == 1
    assert "```{reference} " in found[0] and "```{fast} " in found[0]


FIGURES = json.loads((FOLDER.parent / "figures.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", sorted({*OPERATIONS} - {"flatten", "concat"}))  # these only copy
def test_every_operation_has_a_measured_figure_in_its_chapter(name):
    found = [text for text in CHAPTERS.values() if f"`minicnn.functional.{name}`" in text]
    shown = [word for line in re.findall(r"```\{figures\} (.*)", found[0]) for word in line.split()]
    assert name in shown
    assert FIGURES["operations"][name]["forward"].keys() == {"fast", "reference", "torch"}
    assert FIGURES["machine"]
