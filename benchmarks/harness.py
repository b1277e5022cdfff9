"""What the benchmarks share: the measuring is that of `minicnn bench` (minicnn/bench), the timer pytest-benchmark's.

A file has `subjects(sizes)`, which gives (name, contestants, make, *arguments); make(*arguments) builds the case. Its
test runs once for each contestant, one after the other: `stand(benchmark, *subject)`.
"""

from minicnn.bench.engines import missing
from minicnn.bench.harness import OURS, PEER_ALLOWED, checked

PEERS = tuple(peer for peer in ("torch", "onnxruntime", "openvino") if missing(peer) is None)
TORCH = ("torch", "torch channels_last") if "torch" in PEERS else ()
_held = {}


def prepared(make, *arguments):
    """(case, what it must give), kept for the contestants of the same case that follow."""
    if _held.get("key") != (make, arguments):
        _held.clear()  # its arrays, before the next are made
        case = make(*arguments)
        _held.update(key=(make, arguments), value=(case, case.truth()))
    return _held["value"]


def stand(benchmark, who, make, *arguments):
    """Check one contestant of a case against float64, then time it beside the others of its group."""
    case, truth = prepared(make, *arguments)
    allowed = case.allowed if who == OURS else max(PEER_ALLOWED, case.allowed)
    off = checked(case, who, case.calls[who](), truth, allowed)
    benchmark.group = f"{case.name}, {case.phase}" + (f", batch {case.batch}" if case.batch else "")
    benchmark.extra_info.update(error=off, work=case.work, unit=case.unit)
    benchmark(case.calls[who])
