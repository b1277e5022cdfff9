"""The last step of a pickle: its tensors become arrays, and what must not be left in a result is refused."""

from typing import Any

from .errors import BadFileError, UnsafeFileError, quoted
from .names import LegacyTensor, Name, whole_storage
from .reader import Reader
from .tensors import Storage, Tensor

DEEPEST = 200  # levels of nesting
EXPANDED = 1_000_000  # values met on a walk through the result, shared ones counted each time they are met


class _Done:
    """A finished container: itself (kept, so that its id stays its own), what it became, its height and its count."""

    __slots__ = ("count", "height", "result", "source")

    def __init__(self, source: Any, result: Any, height: int, count: int):
        self.source, self.result, self.height, self.count = source, result, height, count


class _Finisher:
    def __init__(self, reader: Reader):
        self.reader = reader
        self.done: dict[int, _Done] = {}
        self.open: set[int] = set()  # containers that are being finished: met again, they contain themselves
        self.most = EXPANDED + 16 * reader.size

    def finish(self, value: Any, depth: int = 0) -> _Done:
        """What `value` becomes. Shared containers stay shared; each mention of a tensor is an array of its own."""
        kind = type(value)
        if kind is Tensor:
            return _Done(value, self.reader.array(value), 0, 1)
        if kind is Storage:
            return _Done(value, self.reader.array(whole_storage(value)), 0, 1)
        if kind is Name or kind is LegacyTensor:
            what = value.text if kind is Name else "an empty torch tensor"
            raise UnsafeFileError(f"it holds {what} itself, which is neither plain data nor a dense tensor")
        if kind in (set, frozenset) or not isinstance(value, (dict, list, tuple)):
            return _Done(value, value, 0, 1 + (len(value) if kind in (set, frozenset) else 0))
        done = self.done.get(id(value))
        if done is None:
            if id(value) in self.open:
                raise BadFileError(f"it holds {quoted(value)} that contains itself")
            self.open.add(id(value))
            done = self.done[id(value)] = self._container(value, depth)
            self.open.discard(id(value))
        return done

    def _container(self, value: Any, depth: int) -> _Done:
        items = list(value.items()) if isinstance(value, dict) else list(enumerate(value))
        results, height, count = [], 0, 1
        for _, item in items:
            kind = type(item)
            if kind is str or kind is int or kind is float:  # most of what there is: the short way
                count += 1
                results.append(item)
                continue
            if depth >= DEEPEST:
                raise BadFileError(f"it is nested more than {DEEPEST} deep")
            done = self.finish(item, depth + 1)
            height, count = max(height, done.height + 1), count + done.count
            results.append(done.result)
        if height > DEEPEST:
            raise BadFileError(f"it is nested more than {DEEPEST} deep")
        if count > self.most:
            raise BadFileError("it repeats itself to more values than its size explains")
        if isinstance(value, tuple):
            return _Done(value, tuple(results), height, count)
        for (key, item), result in zip(items, results):
            if result is not item:
                value[key] = result
        return _Done(value, value, height, count)


def finish(value: Any, reader: Reader) -> Any:
    """The result of a pickle with an array in place of every tensor, read by `reader`."""
    return _Finisher(reader).finish(value).result
