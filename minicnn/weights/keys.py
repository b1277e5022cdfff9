"""What may become a key of a dict or a member of a set: to put one in costs a hash, which a file can make expensive."""

from collections import Counter
from typing import Any

from .errors import BadFileError, quoted

COLLISIONS = 64  # keys of one container with the same hash: more were chosen to be slow
KEY_PARTS = 256  # of a tuple or frozenset that is a key: hashing visits all of them, shared or not
LARGE_KEY = 2**60  # integers below have hashes of their own


class Keys:
    """Checks what is about to become a key: only plain values, cheap to hash, and not chosen to collide."""

    def __init__(self) -> None:
        self._hashes: Counter[tuple[int, int]] = Counter()

    def check(self, container: Any, key: Any) -> None:
        """`BadFileError` unless `key` may be put into `container`."""
        kind = type(key)
        if kind in (str, bytes, bool, type(None)) or (kind is int and -LARGE_KEY < key < LARGE_KEY):
            return
        waiting, visited = [key], 0
        while waiting:
            part = waiting.pop()
            visited += 1
            if type(part) in (tuple, frozenset):
                visited += max(0, len(part) - KEY_PARTS)
                waiting.extend(part if len(part) <= KEY_PARTS else ())
            elif type(part) not in (str, bytes, bool, int, float, complex, type(None)):
                raise BadFileError(f"it uses {quoted(part)} as a key")
            if visited > KEY_PARTS or len(waiting) > 2 * KEY_PARTS:
                raise BadFileError("it uses an enormous tuple as a key")
        slot = id(container), hash(key)
        self._hashes[slot] += 1
        if self._hashes[slot] > COLLISIONS:
            raise BadFileError("its keys are chosen to collide")
