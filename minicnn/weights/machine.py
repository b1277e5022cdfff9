"""The machine that a pickle drives: a stack, a memo, and what opcodes do to them (`unpickle.py` says which)."""

import struct
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable
from typing import Any, BinaryIO

from .errors import BadFileError, UnsafeFileError, quoted
from .keys import Keys
from .names import build, call, named

LONGEST_LINE = 2**16  # of the text opcodes of protocol 0
LONGEST_INTEGER = 1024  # bytes
CONTAINERS = 100_000  # that any pickle may create; beyond, one for eight bytes of it
COPIES = 4  # times its size a pickle may hand to the calls that copy

_SIZED = (str, bytes, bytearray, list, tuple, dict, set, frozenset)

Persistent = Callable[[Any], Any]


class Machine:
    """A stack, the memo, and one method an opcode."""

    def __init__(self, file: BinaryIO, size: int, persistent: Persistent):
        self.read = file.read
        self.readline = file.readline
        self.size = size
        self.persistent = persistent
        self.stack: list[Any] = []
        self.marks: list[list[Any]] = []  # the stacks below each MARK
        self.memo: dict[int, Any] = {}
        self.keys = Keys()
        self.containers = CONTAINERS + size // 8
        self.copied = 0  # elements and bytes that calls were given, which may be the same ones again and again

    def result(self) -> Any:
        """The one value that must be left at the end."""
        if self.marks or len(self.stack) != 1:
            raise BadFileError("its pickle is damaged")
        return self.stack.pop()

    # bytes and lines

    def take(self, count: int) -> bytes:
        """Exactly `count` bytes."""
        if count > self.size:
            raise BadFileError("its pickle is cut short")
        data = self.read(count)
        if len(data) != count:
            raise BadFileError("its pickle is cut short")
        return data

    def number(self, layout: str) -> Any:
        """One number by its struct layout."""
        return struct.unpack(layout, self.take(struct.calcsize(layout)))[0]

    def line(self) -> bytes:
        """The bytes before the next newline."""
        line = self.readline(LONGEST_LINE)
        if not line.endswith(b"\n"):
            raise BadFileError("its pickle is damaged")
        return line[:-1]

    # the stack

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def pop_mark(self) -> list[Any]:
        """Everything above the topmost mark, which goes."""
        items = self.stack
        self.stack = self.marks.pop()
        return items

    def count(self) -> None:
        """One more container. Many in a small file are an attack on memory."""
        self.containers -= 1
        if self.containers < 0:
            raise BadFileError("it holds more containers than its size explains")

    def create(self, container: Any) -> None:
        """Push a new container."""
        self.count()
        self.stack.append(container)

    def mark(self) -> None:
        self.count()
        self.marks.append(self.stack)
        self.stack = []

    def pop(self) -> None:
        if self.stack:
            self.stack.pop()
        else:
            self.pop_mark()

    # the memo

    def get(self, index: int) -> None:
        if index not in self.memo:
            raise BadFileError("its pickle is damaged")
        self.stack.append(self.memo[index])

    def put(self, index: int) -> None:
        self.memo[index] = self.stack[-1]

    def index_line(self) -> int:
        line = self.line()
        if len(line) > 20 or not line.isdigit():
            raise BadFileError("its pickle is damaged")
        return int(line)

    # numbers and strings

    def integer(self, length: int) -> None:
        if not 0 <= length <= LONGEST_INTEGER:
            raise BadFileError(f"it holds an integer of {length} bytes")
        self.push(int.from_bytes(self.take(length), "little", signed=True))

    def integer_line(self) -> None:
        line = self.line()
        if line in (b"00", b"01"):
            self.push(line == b"01")
        elif len(line) > 2 * LONGEST_INTEGER:
            raise BadFileError("it holds an enormous integer")
        else:
            self.push(parsed(int, line.removesuffix(b"L")))

    def float_line(self) -> None:
        self.push(parsed(float, self.line()))

    def text(self, length: int) -> None:
        self.push(self.take(length).decode("utf-8", "surrogatepass"))

    def text_line(self) -> None:
        self.push(self.line().decode("raw-unicode-escape"))

    def python2_string(self, length: int) -> None:
        """A `str` of Python 2: text where it is, else bytes."""
        data = self.take(length) if length >= 0 else self.take(self.size + 1)
        try:
            self.push(data.decode("utf-8"))
        except UnicodeDecodeError:
            self.push(data)

    def python2_string_line(self) -> None:
        """The same in quotes; escapes, which only unprintable text needs, are not read."""
        line = self.line()
        if len(line) < 2 or line[:1] not in (b"'", b'"') or line[-1:] != line[:1] or b"\\" in line:
            raise BadFileError("its pickle holds a string that is not read")
        self.push(line[1:-1].decode("utf-8"))

    # containers

    def tuple_of(self, count: int) -> None:
        if len(self.stack) < count:
            raise BadFileError("its pickle is damaged")
        items = tuple(self.stack[-count:])
        del self.stack[-count:]
        self.create(items)

    def append(self) -> None:
        self.extend([self.stack.pop()])

    def extend(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not list:
            raise UnsafeFileError(f"it appends to {quoted(target)}, which is not a list")
        target.extend(items)

    def set_item(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self.set_items(self.stack[-1], [key, value])

    def set_items(self, target: Any, items: list[Any]) -> None:
        if type(target) not in (dict, OrderedDict, defaultdict, Counter):
            raise UnsafeFileError(f"it sets an item of {quoted(target)}, which is not a dict")
        if len(items) % 2:
            raise BadFileError("its pickle is damaged")
        for index in range(0, len(items), 2):
            self.keys.check(target, items[index])
            target[items[index]] = items[index + 1]

    def update(self) -> None:
        items = self.pop_mark()
        self.set_items(self.stack[-1], items)

    def new_dict(self) -> None:
        items = self.pop_mark()
        target: dict[Any, Any] = {}
        self.set_items(target, items)
        self.create(target)

    def add_items(self) -> None:
        items = self.pop_mark()
        target = self.stack[-1]
        if type(target) is not set:
            raise UnsafeFileError(f"it adds to {quoted(target)}, which is not a set")
        for item in items:
            self.keys.check(target, item)
            target.add(item)

    def frozen_set(self) -> None:
        items = self.pop_mark()
        for item in items:
            self.keys.check(items, item)
        self.create(frozenset(items))

    # names, calls and state

    def name_lines(self) -> None:
        module, name = self.line(), self.line()
        self.push(named(module.decode("utf-8"), name.decode("utf-8")))

    def name_from_stack(self) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        if type(name) is not str or type(module) is not str:
            raise BadFileError("its pickle is damaged")
        self.push(named(module, name))

    def call(self) -> None:
        args, function = self.stack.pop(), self.stack.pop()
        if type(args) is tuple:
            self.copied += sum(len(arg) for arg in args if isinstance(arg, _SIZED))
        if self.copied > COPIES * self.size + CONTAINERS:
            raise BadFileError("it copies more than its size explains")
        self.create(call(function, args, self.keys))

    def call_with_keywords(self) -> None:
        if self.stack.pop() != {}:
            raise UnsafeFileError("it creates an object with keyword arguments")
        self.call()

    def set_state(self) -> None:
        state, value = self.stack.pop(), self.stack.pop()
        self.push(build(value, state))

    def instance(self) -> None:
        module, name = self.line(), self.line()
        raise UnsafeFileError(f"it creates an instance of {quoted(module + b'.' + name)[2:-1]}")

    def instance_from_stack(self) -> None:
        items = self.pop_mark()
        what = getattr(items[0], "text", items[0]) if items else "nothing"
        raise UnsafeFileError(f"it creates an instance of {quoted(what)}")

    def extension(self) -> None:
        raise UnsafeFileError("it names a class by an extension code")

    def persistent_id(self, value: Any) -> None:
        self.push(self.persistent(value))

    def persistent_line(self) -> None:
        self.persistent_id(self.line().decode("ascii"))

    def protocol(self) -> None:
        if self.number("<B") > 5:
            raise BadFileError("its pickle has an unknown protocol, or is not a pickle at all")

    def buffer(self) -> None:
        raise BadFileError("its pickle refers to a buffer outside the file")


def parsed(kind: Callable[[bytes], Any], text: bytes) -> Any:
    """A number in decimal digits."""
    try:
        return kind(text)
    except (ValueError, OverflowError):
        raise BadFileError("its pickle is damaged") from None
