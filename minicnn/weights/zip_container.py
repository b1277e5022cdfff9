"""The directory of a zip file, read without trusting it.

PyTorch and NumPy write zip files. Every entry must lie inside the file, before the directory and apart from all others,
and say the same in both of its headers. Layout: PKWARE's APPNOTE.TXT, sections 4.3 (headers) and 4.5.3 (zip64).
"""

import struct
from itertools import pairwise
from typing import NamedTuple

from .errors import BadFileError, quoted
from .reader import Reader

STORED, DEFLATED = 0, 8
_END = struct.Struct("<4s4H2LH")  # end of central directory
_END64_PLACE = struct.Struct("<4sLQL")  # where zip64's own end record is
_END64 = struct.Struct("<4sQ2H2L4Q")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
_LONGEST_COMMENT = 2**16 - 1
_IN_ZIP64 = 2**32 - 1  # a 32-bit field that says: see the extra field


class Entry(NamedTuple):
    """One file inside the zip file."""

    name: str
    method: int  # STORED or DEFLATED
    checksum: int | None  # CRC-32 of the content; None where the writer left it out (PyTorch can)
    packed: int  # bytes in the zip file
    nbytes: int  # bytes of the content
    start: int  # of the packed bytes


def read_directory(reader: Reader) -> dict[str, Entry]:
    """All entries by name, each checked; `BadFileError` if anything in the directory is not as it should be."""
    total, begin, length = _find_directory(reader)
    directory = reader.bytes_at(begin, length)
    entries: dict[str, Entry] = {}
    taken: list[tuple[int, int]] = []
    position = 0
    for _ in range(total):
        entry, header, position = _entry(reader, directory, position)
        if entry.name in entries:
            raise BadFileError(f"it is damaged: two entries are named {quoted(entry.name)}")
        if entry.start + entry.packed > begin:
            raise BadFileError(f"it is damaged: entry {quoted(entry.name)} reaches out of its place")
        entries[entry.name] = entry
        taken.append((header, entry.start + entry.packed))
    taken.sort()
    for (_, end), (header, _) in pairwise(taken):
        if header < end:
            raise BadFileError("it is damaged: its entries overlap")
    return entries


def _find_directory(reader: Reader) -> tuple[int, int, int]:
    """(number of entries, first byte, bytes) of the central directory, from the record at the end of the file."""
    tail_length = min(reader.size, _END.size + _LONGEST_COMMENT)
    tail = reader.bytes_at(reader.size - tail_length, tail_length)
    found = tail.rfind(b"PK\5\6")
    if found < 0 or found + _END.size > len(tail):
        raise BadFileError("it is cut short: the directory of a zip file is missing")
    _, disk, _, _, total, length, begin, _ = _END.unpack_from(tail, found)
    end = reader.size - tail_length + found
    if end >= _END64_PLACE.size:
        signature, _, place, _ = _END64_PLACE.unpack(reader.bytes_at(end - _END64_PLACE.size, _END64_PLACE.size))
        if signature == b"PK\6\7":
            signature, _, _, _, disk, _, _, total, length, begin = _END64.unpack(reader.bytes_at(place, _END64.size))
            if signature != b"PK\6\6":
                raise BadFileError("it is damaged: the directory of a zip file is missing")
            end = place
    if disk != 0 or begin + length > end or total * _CENTRAL.size > length:
        raise BadFileError("it is damaged: the directory of a zip file does not fit")
    return total, begin, length


def _entry(reader: Reader, directory: bytes, position: int) -> tuple[Entry, int, int]:
    """(entry, where its local header starts, where the next entry of the directory starts)."""
    if position + _CENTRAL.size > len(directory):
        raise BadFileError("it is damaged: the directory of a zip file is cut short")
    signature, _, _, flags, method, _, _, checksum, packed, nbytes, name_length, extra_length, comment, *rest = (
        _CENTRAL.unpack_from(directory, position)
    )
    header = rest[-1]
    position += _CENTRAL.size
    raw_name = directory[position : position + name_length]
    extra = directory[position + name_length : position + name_length + extra_length]
    position += name_length + extra_length + comment
    if signature != b"PK\1\2" or position > len(directory):
        raise BadFileError("it is damaged: the directory of a zip file is cut short")
    nbytes, packed, header = _wide(extra, nbytes, packed, header)
    name = raw_name.decode("utf-8" if flags & 0x800 else "cp437", "replace")
    if flags & 1 or method not in (STORED, DEFLATED):
        raise BadFileError(f"entry {quoted(name)} is {'encrypted' if flags & 1 else 'compressed in an unknown way'}")
    if method == STORED and packed != nbytes:
        raise BadFileError(f"it is damaged: entry {quoted(name)} has two sizes")
    local = reader.bytes_at(header, _LOCAL.size + name_length)
    signature, _, _, local_method, _, _, _, _, _, local_name, local_extra = _LOCAL.unpack_from(local)
    if (
        signature != b"PK\3\4"
        or local_method != method
        or local_name != name_length
        or local[_LOCAL.size :] != raw_name
    ):
        raise BadFileError(f"it is damaged: the two headers of entry {quoted(name)} differ")
    start = header + _LOCAL.size + local_name + local_extra
    return Entry(name, method, checksum or None, packed, nbytes, start), header, position


def _wide(extra: bytes, *fields: int) -> list[int]:
    """The fields of an entry, those that need 64 bits taken from its zip64 extra field."""
    wide = b""
    while len(extra) >= 4:
        kind, length = struct.unpack_from("<2H", extra)
        if kind == 1:
            wide = extra[4 : 4 + length]
        extra = extra[4 + length :]
    values = []
    for field in fields:
        if field == _IN_ZIP64:
            if len(wide) < 8:
                raise BadFileError("it is damaged: an entry of the zip file has no size")
            field, wide = struct.unpack_from("<Q", wide)[0], wide[8:]
        values.append(field)
    return values
