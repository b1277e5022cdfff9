"""The vectors of this processor, and the tile of a matrix product that its registers hold. Nothing here loads Numba."""

import os

from llvmlite import binding

# Processors with AVX-512 that NUMBA_CPU_NAME may name; Numba keeps the features of the host for a named processor.
AVX512_NAMES = (
    "skylake-avx512", "cascadelake", "cooperlake", "cannonlake", "icelake", "tigerlake", "rocketlake", "sapphirerapids",
    "emeraldrapids", "graniterapids", "knl", "knm", "znver4", "znver5", "znver6", "x86-64-v4",
)  # fmt: skip


def _features() -> str:
    """The instruction sets that Numba compiles for, as it tells them LLVM."""
    named = os.environ.get("NUMBA_CPU_FEATURES")
    if named is None and os.environ.get("NUMBA_CPU_NAME") == "generic":
        return ""
    try:
        found = binding.get_host_cpu_features()
    except RuntimeError:  # a processor that LLVM does not know
        return named or ""
    if os.environ.get("NUMBA_ENABLE_AVX") == "0":
        found = {name: on and not name.startswith("avx") for name, on in found.items()}
        return ",".join(f"{'+' if on else '-'}{name}" for name, on in found.items())
    return found.flatten() if named is None else named


def _tile() -> tuple[int, int, int]:
    """(bytes of a vector, MR, NV): as many accumulators as the registers hold beside NV vectors of B and one of A."""
    features = f",{_features()},"
    named = os.environ.get("NUMBA_CPU_NAME")
    if ",+avx512f," in features and (not named or named.startswith(AVX512_NAMES)):
        return 64, 8, 3  # 24 + 3 + 1 of 32 registers
    if ",+avx2," in features and ",+fma," in features:
        return 32, 4, 3  # 12 + 3 + 1 of 16
    if binding.get_process_triple().startswith(("aarch64", "arm64")):  # all have NEON, whatever features LLVM finds
        return 16, 8, 3  # 24 + 3 + 1 of 32
    return 16, 4, 2  # SSE2 and the unknown: no FMA, a product needs a register of its own


VECTOR_BYTES, MR, NV = _tile()
NR32 = NV * VECTOR_BYTES // 4  # columns of a tile in float32

# The tile whose left operand is read through tables. Its two vectors divide 64, 128, 256 and 512 filters without rest.
# Of AVX2's 16 registers 12 are accumulators again. With AVX-512 16 of 32 are: two FMA units of 4 cycles want 8, and 11
# loads a step for 16 FMAs leave the load ports idle for a third of the time. The addresses of 8 rows fill the general
# registers; with 12 or 14 rows, addresses and then accumulators go to the stack (llvm-mca, Skylake: 21 cycles for the
# 24 FMAs of 12 rows, 31 for 28, but 9 for 16).
ADDRESSED_MR, ADDRESSED_NV = 6 if VECTOR_BYTES == 32 else MR, 2
