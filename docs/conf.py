"""Builds the documentation: pip install '.[docs]' && sphinx-build -W --keep-going docs docs/_build

Chapters are Markdown (MyST), the reference is made from docstrings. Nothing is fetched: it builds and reads offline.
"""

import json
import re
from pathlib import Path

from sphinx.directives.code import LiteralInclude
from sphinx.util.docutils import SphinxDirective

import minicnn
from minicnn.lab import EXERCISES

project = "minicnn"
author = "the minicnn authors"
release = minicnn.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.viewcode"]
exclude_patterns = ["_build", "explain"]
myst_heading_anchors = 3
html_theme = "furo"
html_title = "minicnn"
html_copy_source = False
html_show_copyright = False
html_static_path = ["_static"]
html_css_files = ["wide.css"]
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_inherit_docstrings = False  # forward and backward of each layer would repeat those of Module
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 100
pygments_style = "friendly"


class Code(LiteralInclude):
    """A function of a backend, from its source, with a link to its file: ```{reference} conv.py conv2d_forward```"""

    def run(self):
        file, function = self.arguments[0].split()
        folder = "cpu" if self.name == "fast" else "reference"
        path = f"minicnn/backends/{folder}/{file}"
        whole = f"minicnn.backends.reference.{file.removesuffix('.py')}.{function}"
        link = f"{{download}}`{path} </../{path}>`" if folder == "cpu" else f"{{py:func}}`{path} <{whole}>`"
        self.arguments[0] = f"/../{path}"
        self.options |= {"pyobject": function, "language": "python", "caption": link}
        return super().run()


FIGURES = Path(__file__).parent / "figures.json"  # written by measure.py


class Figures(SphinxDirective):
    """What docs/measure.py found for some operations, as a table: ```{figures} relu sigmoid```"""

    required_arguments, optional_arguments = 1, 100

    def run(self):
        self.env.note_dependency(str(FIGURES))
        found = json.loads(FIGURES.read_text(encoding="utf-8"))
        head = ["milliseconds", "x", "fast", "reference", "PyTorch"]
        rows = []
        for name in self.arguments:
            entry = found["operations"][name]
            for phase in ("forward", "backward"):
                if phase in entry:
                    times = [milliseconds(entry[phase][who]) for who in ("fast", "reference", "torch")]
                    label = f"`{name}` step" if "backward" not in entry and name[0].isupper() else f"`{name}` {phase}"
                    rows.append([label, "×".join(map(str, entry["shape"])), *times])
        table = "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---", "---", "--:", "--:", "--:"], *rows))
        where = f"Median times, float32, warm: {found['machine']}. Yours: `python docs/measure.py`."
        return self.parse_text_to_nodes(f"{table}\n\n{where}")


def milliseconds(seconds):
    """Three significant digits."""
    value = 1e3 * seconds
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


class LabExercises(SphinxDirective):
    """The exercises of `minicnn lab` as a list."""

    def run(self):
        items = [f"{number}. **{exercise.title}** (`{exercise.name}`)" for number, exercise in enumerate(EXERCISES, 1)]
        return self.parse_text_to_nodes("\n".join(items))


def as_restructured_text(app, what, name, obj, options, lines):
    """Docstrings are plain text with formulas: escape what reStructuredText would read as markup, in place.

    Examples stay as they are, indented blocks become literal ones, and `names` between backticks code.
    """
    made, is_example, is_block = [], False, False
    for line in lines:
        is_example = line.strip().startswith(">>>") or (is_example and bool(line.strip()))
        if is_example:
            is_block = False
            made.append(line)
        elif line.startswith("    ") or (is_block and line.startswith(" ")):
            if not is_block:
                made += ["", "::", ""]
            is_block = True
            made.append(line)
        else:
            if is_block and line.strip():
                made.append("")
            is_block = is_block and not line.strip()
            made.append(_escaped(line))
    lines[:] = made


def _escaped(line):
    """Code between backticks doubled, the rest with its markup characters escaped."""
    parts = re.split(r"`([^`]*)`", line)
    texts = [re.sub(r"([\\*|])|(?<=\w)_(?!\w)", lambda m: "\\" + m.group(), part) for part in parts[::2]]
    codes = [f"``{part}``\\ " for part in parts[1::2]]
    return "".join(text + code for text, code in zip(texts, [*codes, ""]))


def setup(app):
    app.add_directive("reference", Code)
    app.add_directive("fast", Code)
    app.add_directive("figures", Figures)
    app.add_directive("lab-exercises", LabExercises)
    app.connect("autodoc-process-docstring", as_restructured_text)
