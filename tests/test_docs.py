"""The documentation has a chapter for each operation. That it builds without warnings is a phase of its own in CI."""

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
