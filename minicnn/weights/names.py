"""The allow-list: the names that a pickle may mention, and what each stands for.

Nothing is looked up or imported: a name is a string, `named` finds it in the tables below or refuses it, and `call`
builds plain data for the few that a pickle may call. The functions below are the only ones that a file can reach.
"""

from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable
from typing import Any

from .errors import BadFileError, UnsafeFileError, quoted
from .keys import Keys
from .tensors import KINDS, Storage, Tensor, dense_tensor


class Name:
    """A name that a pickle mentioned. It is no value: one that is left in the result is refused."""

    __slots__ = ("text",)

    def __init__(self, text: str):
        self.text = text


class LegacyTensor:
    """An empty `torch.FloatTensor()` of the first PyTorch versions, waiting for its state."""


def named(module: str, name: str) -> Any:
    """What stands for `module.name`: a string for a dtype, a `Name` for what may be called or told apart.

    `UnsafeFileError` for every other name, `BadFileError` for kinds of tensors that are known but not read.
    """
    full = f"{module.replace('__builtin__', 'builtins')}.{name}"
    if full in _DTYPES:
        return full
    if full in _CALLS or full in STORAGES or full in _TENSOR_CLASSES or full in _FACTORIES:
        return Name(full)
    if full in _UNREAD:
        raise BadFileError(f"it holds {_UNREAD[full]} ({full}), which is not read")
    if not all(part.isidentifier() for part in full.replace("<locals>", "locals").split(".")):
        raise BadFileError("it is damaged, or not a file of weights")
    raise UnsafeFileError(f"it names {quoted(full)[1:-1]}, which is neither plain data nor a dense tensor")


def call(name: Any, args: Any, keys: Keys) -> Any:
    """What a pickle's call builds: plain data or a checked tensor."""
    if not isinstance(name, Name):
        raise UnsafeFileError(f"it calls {quoted(name)}, which is not a function of the allow-list")
    if type(args) is not tuple:
        raise BadFileError(f"it calls {name.text} without a tuple of arguments")
    if name.text in _TENSOR_CLASSES:
        return _tensor_class(name.text, args)
    if name.text not in _CALLS:
        raise UnsafeFileError(f"it calls {name.text}, which is not a function of the allow-list")
    try:
        return _CALLS[name.text](keys, *args)
    except TypeError as error:  # arguments that do not fit the signature
        raise BadFileError(f"it calls {name.text} with {len(args)} arguments that do not fit") from error


def build(value: Any, state: Any) -> Any:
    """What an object becomes when a pickle sets its state: attributes are dropped, only old tensors have one."""
    if isinstance(value, LegacyTensor):
        if type(state) is not tuple or len(state) != 4:
            raise BadFileError("the state of a tensor must be a storage, an offset, a shape and strides")
        return dense_tensor(*state)
    if isinstance(value, (Tensor, OrderedDict, defaultdict)):  # requires_grad and hooks; `_metadata` of a state dict
        return value
    what = value.text if isinstance(value, Name) else quoted(value)
    raise UnsafeFileError(f"it sets the state of {what}, which is neither plain data nor a dense tensor")


# The functions that a pickle may call. Each takes the check of keys first, then what stands in the file.


def _parameter(_: Keys, data: Any, *_requires_grad_hooks_state: Any) -> Tensor:
    if not isinstance(data, Tensor):
        raise BadFileError(f"a Parameter must hold a tensor, got {quoted(data)}")
    return data


def _tensor(_: Keys, storage: Any, offset: Any, shape: Any, strides: Any) -> Tensor:
    return dense_tensor(storage, offset, shape, strides)


def _tensor_v2(
    _: Keys, storage: Any, offset: Any, shape: Any, strides: Any, grad: Any, hooks: Any, metadata: Any = None
) -> Tensor:
    return dense_tensor(storage, offset, shape, strides, metadata=metadata)


def _tensor_v3(
    _: Keys,
    storage: Any,
    offset: Any,
    shape: Any,
    strides: Any,
    grad: Any,
    hooks: Any,
    dtype: Any,
    metadata: Any = None,
) -> Tensor:
    if type(dtype) is not str or dtype not in _DTYPES:
        raise BadFileError(f"a tensor must have a dtype, got {quoted(dtype)}")
    return dense_tensor(storage, offset, shape, strides, dtype.removeprefix("torch."), metadata)


def _from_type(keys: Keys, function: Any, kind: Any, args: Any, _state: Any) -> Tensor:
    """A tensor with attributes of its own, or an nn.Buffer: the tensor is kept, the attributes are dropped."""
    if not isinstance(kind, Name) or kind.text not in _PLAIN_TENSORS:
        raise UnsafeFileError(f"it holds a tensor of the class {quoted(getattr(kind, 'text', kind))}")
    if not isinstance(function, Name) or function.text not in _REBUILDS:
        raise UnsafeFileError(f"it rebuilds a tensor by {quoted(getattr(function, 'text', function))}")
    return call(function, args, keys)


def _tensor_class(name: str, args: tuple) -> Any:
    """`torch.FloatTensor()`, or `Parameter(tensor, …)` as early versions wrote it."""
    if not args:
        return LegacyTensor()
    if isinstance(args[0], Tensor):
        return args[0]
    raise BadFileError(f"it calls {name} with something that is no tensor")


def _encode(_: Keys, text: Any = "", encoding: Any = "latin1") -> bytes:
    """bytes, as Python 3 writes them for Python 2."""
    if type(text) is not str or encoding not in ("latin1", "latin-1"):
        raise BadFileError("it holds bytes in an encoding that is not latin1")
    try:
        return text.encode("latin1")
    except UnicodeEncodeError:
        raise BadFileError("it holds bytes in an encoding that is not latin1") from None


def _bytes(_: Keys) -> bytes:
    return b""


def _bytearray(keys: Keys, data: Any = b"", encoding: Any = "latin1") -> bytearray:
    return bytearray(data if type(data) in (bytes, bytearray) else _encode(keys, data, encoding))


def _complex(_: Keys, real: Any, imaginary: Any = 0.0) -> complex:
    if type(real) not in (int, float) or type(imaginary) not in (int, float):
        raise BadFileError("a complex number must have two real parts")
    return complex(real, imaginary)


def _set(keys: Keys, items: Any = ()) -> set:
    return set(_checked(keys, items))


def _frozenset(keys: Keys, items: Any = ()) -> frozenset:
    return frozenset(_checked(keys, items))


def _checked(keys: Keys, items: Any) -> Any:
    if type(items) not in (list, tuple, set, frozenset):
        raise BadFileError(f"a set must be built from a list, got {quoted(items)}")
    for item in items:
        keys.check(items, item)
    return items


def _ordered(keys: Keys, items: Any = ()) -> OrderedDict:
    return _fill(OrderedDict(), keys, items)


def _counter(keys: Keys, items: Any = ()) -> Counter:
    return _fill(Counter(), keys, items)


def _default(keys: Keys, factory: Any = None, items: Any = ()) -> defaultdict:
    if factory is not None and (not isinstance(factory, Name) or factory.text not in _FACTORIES):
        raise UnsafeFileError(f"it holds a defaultdict of {quoted(getattr(factory, 'text', factory))}")
    return _fill(defaultdict(None if factory is None else _FACTORIES[factory.text]), keys, items)


def _fill(target: Any, keys: Keys, items: Any) -> Any:
    """Put the pairs of a dict, or of a list of pairs, into a new dict of some kind."""
    pairs = list(items.items()) if isinstance(items, dict) else items
    if type(pairs) not in (list, tuple):
        raise BadFileError(f"a dict must be built from pairs, got {quoted(items)}")
    for pair in pairs:
        if type(pair) not in (list, tuple) or len(pair) != 2:
            raise BadFileError("a dict must be built from pairs")
        keys.check(target, pair[0])
        target[pair[0]] = pair[1]
    return target


def _size(_: Keys, sizes: Any = ()) -> tuple:
    if type(sizes) not in (list, tuple) or not all(type(n) is int for n in sizes):
        raise BadFileError("a torch.Size must be built from integers")
    return tuple(sizes)


def _device(_: Keys, kind: Any, index: Any = None) -> str:
    if type(kind) is not str or type(index) not in (int, type(None)):
        raise BadFileError("a torch.device must have a name and a number")
    return kind if index is None else f"{kind}:{index}"


def _layout(_: Keys, name: Any) -> str:
    if type(name) is not str:
        raise BadFileError("a torch.layout must have a name")
    return name


_REBUILDS: dict[str, Callable[..., Any]] = {
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor_v2,
    "torch._utils._rebuild_tensor_v3": _tensor_v3,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
}

_CALLS: dict[str, Callable[..., Any]] = {
    **_REBUILDS,
    "torch._tensor._rebuild_from_type_v2": _from_type,
    "torch.Size": _size,
    "torch.device": _device,
    "torch.serialization._get_layout": _layout,
    "collections.OrderedDict": _ordered,
    "collections.Counter": _counter,
    "collections.defaultdict": _default,
    "builtins.set": _set,
    "builtins.frozenset": _frozenset,
    "builtins.complex": _complex,
    "builtins.bytes": _bytes,
    "builtins.bytearray": _bytearray,
    "_codecs.encode": _encode,
}

_FACTORIES: dict[str, Callable[[], Any]] = {
    f"builtins.{kind.__name__}": kind for kind in (dict, list, tuple, set, int, float, str, bool)
}

_UNREAD_DTYPES = (
    "qint8", "quint8", "qint32", "quint4x2", "quint2x4", "bits8", "bits16", "bits1x8", "bits2x4", "bits4x2",
    "float4_e2m1fn_x2",
)  # fmt: skip
_DTYPES = {f"torch.{name}" for name in (*KINDS, *_UNREAD_DTYPES)}

_LETTERED = {
    "Double": "float64", "Float": "float32", "Half": "float16", "BFloat16": "bfloat16", "Long": "int64", "Int": "int32",
    "Short": "int16", "Char": "int8", "Byte": "uint8", "Bool": "bool", "ComplexDouble": "complex128",
    "ComplexFloat": "complex64", "QInt8": "qint8", "QInt32": "qint32", "QUInt8": "quint8", "QUInt4x2": "quint4x2",
    "QUInt2x4": "quint2x4",
}  # fmt: skip

# The class of a storage says the dtype of its elements; an untyped one counts bytes.
STORAGES = {
    f"torch.{place}{letters}Storage": dtype for letters, dtype in _LETTERED.items() for place in ("", "cuda.")
} | {
    "torch.storage.UntypedStorage": "uint8",
    "torch.UntypedStorage": "uint8",
}

_PLAIN_TENSORS = {"torch.Tensor", "torch.nn.parameter.Parameter", "torch.nn.parameter.Buffer"}
_TENSOR_CLASSES = _PLAIN_TENSORS | {
    f"torch.{place}{letters}Tensor" for letters, dtype in _LETTERED.items() if dtype in KINDS for place in ("", "cuda.")
}

_UNREAD = {
    "torch._utils._rebuild_qtensor": "a quantised tensor",
    "torch._utils._rebuild_sparse_tensor": "a sparse tensor",
    "torch._utils._rebuild_sparse_csr_tensor": "a sparse tensor",
    "torch._utils._rebuild_nested_tensor": "a nested tensor",
    "torch._utils._rebuild_meta_tensor_no_storage": "a tensor without data",
    "torch._utils._rebuild_wrapper_subclass": "a tensor subclass",
}


def storage_dtype(name: Any) -> str:
    """The dtype that a storage class stands for; `UnsafeFileError` for any other thing in its place."""
    if not isinstance(name, Name) or name.text not in STORAGES:
        raise UnsafeFileError(f"it holds a storage of the class {quoted(getattr(name, 'text', name))}")
    return STORAGES[name.text]


def whole_storage(storage: Storage) -> Tensor:
    """A storage that was saved by itself, as the flat tensor that it is."""
    return dense_tensor(storage, 0, (storage.numel,), (1,))
