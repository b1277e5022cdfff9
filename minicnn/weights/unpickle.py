"""An interpreter for pickles that can build plain data and nothing else.

Python's own unpickler runs what a file asks for, and sizes its memo by a number in the file. This one knows the
opcodes (documented in the standard library's `pickletools`), takes every name to `names.py`, and reads no more bytes
than there are.
"""

import struct
from collections.abc import Callable
from typing import Any, BinaryIO

from .errors import BadFileError
from .machine import Machine, Persistent


def no_persistent_ids(_: Any) -> Any:
    """For pickles that may not refer to storages."""
    raise BadFileError("it refers to a storage where none may stand")


def unpickle(file: BinaryIO, size: int, persistent: Persistent = no_persistent_ids) -> Any:
    """The value of the pickle at the position of `file`, which is left behind it.

    size: bytes that the file (or the part of it that may be read) holds. persistent: gives the storage for an id.
    """
    machine, read, opcode = Machine(file, size, persistent), file.read, b""
    try:
        while (opcode := read(1)) != b".":
            _OPCODES[opcode](machine)
        return machine.result()
    except KeyError as error:
        if not opcode:
            raise BadFileError("its pickle is cut short") from error
        raise BadFileError("its pickle is damaged, or not a pickle at all") from error
    except (IndexError, struct.error, UnicodeError) as error:
        raise BadFileError("its pickle is damaged") from error


# One row an opcode, in the order of the protocols that brought them.
_OPCODES: dict[bytes, Callable[[Machine], Any]] = {
    # protocol 0, lines of text, and 1
    b"(": Machine.mark,
    b"0": Machine.pop,
    b"1": Machine.pop_mark,
    b"2": lambda m: m.push(m.stack[-1]),
    b"N": lambda m: m.push(None),
    b"F": Machine.float_line,
    b"G": lambda m: m.push(m.number(">d")),
    b"I": Machine.integer_line,
    b"J": lambda m: m.push(m.number("<i")),
    b"K": lambda m: m.push(m.number("<B")),
    b"M": lambda m: m.push(m.number("<H")),
    b"L": Machine.integer_line,
    b"S": Machine.python2_string_line,
    b"T": lambda m: m.python2_string(m.number("<i")),
    b"U": lambda m: m.python2_string(m.number("<B")),
    b"V": Machine.text_line,
    b"X": lambda m: m.text(m.number("<I")),
    b"]": lambda m: m.create([]),
    b"}": lambda m: m.create({}),
    b")": lambda m: m.push(()),
    b"l": lambda m: m.create(m.pop_mark()),
    b"d": Machine.new_dict,
    b"t": lambda m: m.create(tuple(m.pop_mark())),
    b"a": Machine.append,
    b"e": lambda m: m.extend(m.pop_mark()),
    b"s": Machine.set_item,
    b"u": Machine.update,
    b"g": lambda m: m.get(m.index_line()),
    b"h": lambda m: m.get(m.number("<B")),
    b"j": lambda m: m.get(m.number("<I")),
    b"p": lambda m: m.put(m.index_line()),
    b"q": lambda m: m.put(m.number("<B")),
    b"r": lambda m: m.put(m.number("<I")),
    b"c": Machine.name_lines,
    b"R": Machine.call,
    b"b": Machine.set_state,
    b"i": Machine.instance,
    b"o": Machine.instance_from_stack,
    b"P": Machine.persistent_line,
    b"Q": lambda m: m.persistent_id(m.stack.pop()),
    # protocol 2
    b"\x80": Machine.protocol,
    b"\x81": Machine.call,  # NEWOBJ: what may be called is the same for classes and functions
    b"\x82": Machine.extension,
    b"\x83": Machine.extension,
    b"\x84": Machine.extension,
    b"\x85": lambda m: m.tuple_of(1),
    b"\x86": lambda m: m.tuple_of(2),
    b"\x87": lambda m: m.tuple_of(3),
    b"\x88": lambda m: m.push(True),
    b"\x89": lambda m: m.push(False),
    b"\x8a": lambda m: m.integer(m.number("<B")),
    b"\x8b": lambda m: m.integer(m.number("<i")),
    # protocol 3
    b"B": lambda m: m.push(m.take(m.number("<I"))),
    b"C": lambda m: m.push(m.take(m.number("<B"))),
    # protocol 4
    b"\x8c": lambda m: m.text(m.number("<B")),
    b"\x8d": lambda m: m.text(m.number("<Q")),
    b"\x8e": lambda m: m.push(m.take(m.number("<Q"))),
    b"\x8f": lambda m: m.create(set()),
    b"\x90": Machine.add_items,
    b"\x91": Machine.frozen_set,
    b"\x92": Machine.call_with_keywords,
    b"\x93": Machine.name_from_stack,
    b"\x94": lambda m: m.put(len(m.memo)),
    b"\x95": lambda m: m.number("<Q"),  # the length of a frame: a hint that is not needed
    # protocol 5
    b"\x96": lambda m: m.create(bytearray(m.take(m.number("<Q")))),
    b"\x97": Machine.buffer,
    b"\x98": Machine.buffer,
}
