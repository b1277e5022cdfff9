"""What gradcheck reports: a row for each gradient, as a table and as a dict."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Row:
    """One gradient. Errors are relative to its largest value; index and the three values are where it is worst."""

    argument: str
    shape: tuple[int, ...]
    entries: int  # compared with finite differences
    difference_error: float  # backward in float64 against finite differences, corners left out
    torch_error: float | None  # … against PyTorch in float64; None without it
    float32_error: float  # backward in float32 against float64
    verdict: str  # "agrees", "tie in a maximum", "kink of relu", "float32 precision" or "real error"
    index: tuple[int, ...]
    finite_difference: float
    backward: float
    torch: float | None
    explanation: str  # a sentence; empty where everything agrees


@dataclass(frozen=True)
class Report:
    """What `gradcheck` found. True if every gradient holds; `print` shows the table, `to_dict` is for JSON."""

    name: str
    backend: str
    rows: tuple[Row, ...]

    def __bool__(self) -> bool:
        return all(row.verdict != "real error" for row in self.rows)

    def __str__(self) -> str:
        return render([self])

    def to_dict(self) -> dict[str, Any]:
        return {"name": self.name, "backend": self.backend, "holds": bool(self), "rows": [asdict(r) for r in self.rows]}


def render(reports: Sequence[Report]) -> str:
    """The reports as one table, and a line for each disagreement."""
    width = max([len(report.name) for report in reports] + [9])
    lines = [
        f"{'operation':<{width}}  {'gradient of':<18} {'entries':>7}  {'differences':>11} {'PyTorch':>9} {'float32':>9}"
        "  verdict"
    ]
    for report in reports:
        for row in report.rows:
            torch = "-" if row.torch_error is None else f"{row.torch_error:.1e}"
            lines.append(
                f"{report.name:<{width}}  {row.argument:<18} {row.entries:>7}  {row.difference_error:>11.1e} "
                f"{torch:>9} {row.float32_error:>9.1e}  {row.verdict}"
            )
            if row.explanation:
                torch = "-" if row.torch is None else f"{row.torch:.9g}"
                lines.append(
                    f"    {row.explanation}; worst at {row.index}: finite differences {row.finite_difference:.9g}, "
                    f"backward {row.backward:.9g}, PyTorch {torch}"
                )
    return "\n".join(lines)
