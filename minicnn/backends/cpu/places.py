"""Where compiled kernels are kept, and what their files are called. Nothing here loads Numba.

What compiled code depends on is in the name of its folder (the versions, the processor, the settings of Numba) and in
that of its file (the sources), so that a file which is there fits.
"""

import hashlib
import os
import re
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path


def cache_folder() -> Path:
    """Where compiled kernels are kept: MINICNN_CACHE_DIR or the user's cache folder, then a name for this build."""
    return cache_root() / f"kernels-{_fingerprint()}"


def cache_root() -> Path:
    if named := os.environ.get("MINICNN_CACHE_DIR"):
        return Path(named).expanduser()
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "minicnn"


def numba_folder() -> Path:
    """Where Numba is installed. `ImportError` where it is not."""
    found = find_spec("numba")
    if found is None or found.origin is None:
        raise ImportError("the cpu backend needs Numba: pip install numba")
    return Path(found.origin).parent


@cache
def _fingerprint() -> str:
    """A hash of what compiled code depends on, its sources apart."""
    import llvmlite
    from llvmlite import binding

    settings = Path(".numba_config.yaml")  # Numba reads it where it stands; the environment comes first
    parts = (
        numba_folder().joinpath("_version.py").read_text(),
        llvmlite.__version__,
        sys.version,
        binding.get_host_cpu_name(),
        binding.get_host_cpu_features().flatten(),
        *(f"{name}={os.environ.get(f'NUMBA_{name}')}" for name in CODE_SETTINGS),
        settings.read_text() if settings.is_file() else "",
    )
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


CODE_SETTINGS = ("CPU_NAME", "CPU_FEATURES", "ENABLE_AVX", "BOUNDSCHECK", "OPT", "LOOP_VECTORIZE", "SLP_VECTORIZE")


@cache
def source_hash(stem: str) -> str:
    """A hash of one file of this folder and of those it imports, here or in the folder above, directly or not."""
    here = Path(__file__).parent
    found, waiting = {}, [here / f"{stem}.py"]
    while waiting:
        source = waiting.pop()
        if source not in found and source.exists():
            found[source] = source.read_bytes()
            for dots, name in re.findall(r"^from (\.\.?)(\w+) import", found[source].decode(), re.MULTILINE):
                waiting.append((source.parent if dots == "." else source.parent.parent) / f"{name}.py")
    digest = hashlib.sha256()
    for source in sorted(found):
        digest.update(source.relative_to(here.parent).as_posix().encode() + found[source])
    return digest.hexdigest()


def write_checked(path: Path, content: bytes) -> None:
    """Write a checksum and the content, aside first and then renamed: another process sees all of it or nothing."""
    import threading

    aside = path.with_suffix(f".{os.getpid()}-{threading.get_ident()}.tmp")
    try:
        aside.write_bytes(hashlib.sha256(content).digest() + content)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def read_checked(path: Path) -> bytes | None:
    """What `write_checked` wrote; None where there is no such file, or another."""
    try:
        stored = path.read_bytes()
    except FileNotFoundError:
        return None
    checksum, content = stored[:32], stored[32:]
    return content if hashlib.sha256(content).digest() == checksum else None


@cache
def warn_once(problem: str) -> None:
    print(f"minicnn: compiled kernels are not kept in {cache_root()}: {problem}", file=sys.stderr)
