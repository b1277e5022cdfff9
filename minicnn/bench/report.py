"""What was measured, as text and as a plot."""

import io
from collections.abc import Iterable, Sequence
from typing import Any

from .harness import geometric_mean

Record = dict[str, Any]
HEADER = (
    f"{'case':<36} {'batch':>5} {'phase':<8} {'compile':>8} {'time':>9} {'rate':>14} {'of peak':>7} {'error':>7} "
    f"{'peer':>9} {'ratio':>6}  fastest peer"
)
FASTER, SLOWER, INK = "#0b6e99", "#c2410c", "#1f2933"


def text(record: Record) -> str:
    """One record as a line, or several."""
    return {
        "environment": _environment, "peaks": _peaks, "row": _row, "memory": _memory, "first": _first,
        "note": lambda found: f"note: {found['text']}", "wrong": lambda found: f"WRONG: {found['text']}",
    }[record["kind"]](record)  # fmt: skip


def seconds(value: float) -> str:
    """
    >>> seconds(0.0000123), seconds(0.0456), seconds(12.0)
    ('12.3 us', '45.6 ms', '12.0 s')
    """
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if value >= size:
            return f"{value / size:.{1 if value / size < 100 else 0}f} {unit}"
    return f"{value / 1e-6:.{1 if value < 1e-4 else 0}f} us"


def means(rows: Iterable[Record]) -> list[Record]:
    """For each group with peers: geometric mean, least and number of the ratios, in order of appearance."""
    groups: dict[str, list[Record]] = {}
    for row in rows:
        if row["ratio"] is not None:
            groups.setdefault(row["group"], []).append(row)
    found = []
    for group, members in groups.items():
        least = min(members, key=lambda row: row["ratio"])
        ratios = [row["ratio"] for row in members]
        found.append({
            "group": group, "cases": len(members), "mean": geometric_mean(ratios), "least": least["ratio"],
            "least_case": least["case"], "losses": sum(ratio < 1 for ratio in ratios),
        })  # fmt: skip
    return found


def means_table(rows: Sequence[Record]) -> str:
    """The geometric means as text; "" where nobody was there to compare with."""
    found = means(rows)
    if not found:
        return ""
    width = max(len(each["group"]) for each in found)
    lines = [f"{'group':<{width}} {'cases':>5} {'mean ratio':>10} {'below 1':>7} {'least':>6}  at"]
    lines += [
        f"{each['group']:<{width}} {each['cases']:>5} {each['mean']:>10.2f} {each['losses']:>7} {each['least']:>6.2f}"
        f"  {each['least_case']}"
        for each in found
    ]
    return "\n".join(lines)


def plot(rows: Sequence[Record], title: str) -> bytes:
    """The ratio of each case as a bar, on a logarithmic axis, as a PNG. Needs matplotlib."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = [row for row in rows if row["ratio"] is not None]
    figure = Figure(figsize=(9, 1.2 + 0.2 * max(1, len(rows))), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    ratios = [row["ratio"] for row in rows]
    axes.barh(range(len(rows)), [r - 1 for r in ratios], left=1, color=[FASTER if r >= 1 else SLOWER for r in ratios])
    labels = [f"{row['case']}, {row['phase']}" + (f", {row['batch']}" if row["batch"] else "") for row in rows]
    axes.set_yticks(range(len(rows)), labels, fontsize=7)
    axes.set_xscale("log")
    axes.set_xlim(min([0.5, *ratios]) / 1.1, max([2.0, *ratios]) * 1.1)
    ticks = [t for t in (0.1, 0.2, 0.5, 0.7, 1, 1.5, 2, 3, 5, 10, 20) if min([0.5, *ratios]) <= t <= max([2, *ratios])]
    axes.set_xticks(ticks, [f"{t:g}" for t in ticks], minor=False)
    axes.minorticks_off()
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.axvline(1, color=INK, linewidth=1)
    axes.set_title(f"time of the fastest peer / time of minicnn\n{title}", fontsize=9, loc="left", color=INK)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def _row(row: Record) -> str:
    batch = "" if row["batch"] is None else row["batch"]
    peer, ratio = ("", "") if row["peer"] is None else (seconds(row["peer_seconds"]), f"{row['ratio']:.2f}")
    others = ", ".join(f"{who} {seconds(each)}" for who, each in row["peers"].items()) if len(row["peers"]) > 2 else ""
    return (
        f"{row['case']:<36} {batch:>5} {row['phase']:<8} {seconds(row['compile']):>8} {seconds(row['seconds']):>9} "
        f"{row['rate']:>6.1f} {row['unit']:<7} {row['of_peak']:>7.0%} {row['error']:>7.0e} {peer:>9} {ratio:>6}  "
        f"{row['peer'] or ''}"
    ).rstrip() + (f"\n    {others}" if others else "")


def _environment(found: Record) -> str:
    lines = [
        f"{found['processor']}, {found['cores']} cores, {found['threads']} threads, {found['system']}",
        ", ".join(f"{name} {number}" for name, number in found["versions"].items()),
    ]
    if found["variables"]:
        lines.append("set: " + " ".join(f"{name}={value}" for name, value in found["variables"].items()))
    return "\n".join(lines)


def _peaks(found: Record) -> str:
    lines = f"peak: {found['GFLOP/s']:.0f} GFLOP/s multiply-adds, {found['GB/s']:.1f} GB/s copying"
    return f"{lines}\n\n{HEADER}"


def _memory(found: Record) -> str:
    return (
        f"training step of ResNet18, batch {found['batch']}, {found['image']}x{found['image']}: {found['who']:<20} "
        f"peak memory {found['peak_bytes'] / 1e6:>6.0f} MB ({found['before_bytes'] / 1e6:.0f} MB before the first step)"
    )


def _first(found: Record) -> str:
    return (
        f"{found['who']:<28} first prediction after {found['seconds']:>5.2f} s, peak memory "
        f"{found['peak_bytes'] / 1e6:>5.0f} MB (batch 8: {found['peak_bytes_batch_8'] / 1e6:.0f} MB, "
        f"32: {found['peak_bytes_batch_32'] / 1e6:.0f} MB), installed "
        f"{found['installed_bytes'] / 1e6:>5.0f} MB"
    )
