"""`minicnn.load` against what `torch.save` writes, in all three containers."""

import collections
import io
import zipfile

import numpy as np
import pytest
import torch
from weights_files import legacy, saved, torch_tar, torch_zip

import minicnn

CONTAINERS = ("zip", "legacy")
PLAIN_DTYPES = [
    torch.float16, torch.float32, torch.float64, torch.complex64, torch.complex128, torch.int8, torch.int16,
    torch.int32, torch.int64, torch.uint8, torch.uint16, torch.uint32, torch.uint64, torch.bool,
]  # fmt: skip
WIDENED_DTYPES = [
    torch.bfloat16, torch.float8_e4m3fn, torch.float8_e4m3fnuz, torch.float8_e5m2, torch.float8_e5m2fnuz,
    torch.float8_e8m0fnu,
]  # fmt: skip


@pytest.fixture(params=CONTAINERS)
def container(request):
    return request.param


@pytest.fixture
def roundtrip(tmp_path, container):
    """Saves a value with torch and loads it without."""
    return lambda value, **options: minicnn.load(saved(value, tmp_path / "file.pth", container, **options))


def assert_own(array, expected):
    """An array equal to the bit, of a memory of its own, writable, C-contiguous and native."""
    assert isinstance(array, np.ndarray)
    assert array.dtype == expected.dtype
    assert array.shape == expected.shape
    assert array.flags.c_contiguous
    assert array.flags.writeable
    assert array.dtype.isnative
    np.testing.assert_array_equal(array, expected)


def bits(dtype, rng, count=257):
    """Random bytes as a tensor: every kind of value, NaN and infinities included."""
    raw = rng.integers(0, 2 if dtype == torch.bool else 256, count * dtype.itemsize, np.uint8)
    return torch.from_numpy(raw).view(dtype)


@pytest.mark.parametrize("dtype", PLAIN_DTYPES, ids=str)
def test_plain_dtypes_come_bit_for_bit(roundtrip, rng, dtype):
    tensor = bits(dtype, rng)
    array = roundtrip({"x": tensor})["x"]
    assert_own(array, tensor.numpy())
    assert array.tobytes() == tensor.numpy().tobytes()


@pytest.mark.parametrize("dtype", WIDENED_DTYPES, ids=str)
def test_kinds_that_numpy_lacks_become_float32(roundtrip, dtype):
    codes = torch.arange(2**16, dtype=torch.int32).to(torch.uint16) if dtype.itemsize == 2 else torch.arange(256).byte()
    tensor = codes.view(dtype)
    assert_own(roundtrip([tensor])[0], tensor.float().numpy())


@pytest.mark.filterwarnings("ignore:ComplexHalf")
def test_complex32_becomes_complex64(roundtrip, rng):
    halves = torch.from_numpy(rng.standard_normal((5, 3, 2)).astype(np.float16))
    tensor = torch.view_as_complex(halves)
    expected = halves.numpy().astype(np.float32).view(np.complex64)[..., 0]
    assert_own(roundtrip(tensor), expected)
    assert_own(roundtrip(tensor.t()), expected.T)


VIEWS = {
    "transposed": lambda x: x.transpose(0, 2),
    "channels_last": lambda x: x[:, :, :, None].contiguous(memory_format=torch.channels_last),
    "sliced": lambda x: x[1:3, ::2, 1],
    "offset": lambda x: x[2],
    "expanded": lambda x: x[:1].expand(9, 5, 6),
    "windows": lambda x: x.flatten().unfold(0, 7, 3),
    "flipped": lambda x: x.flip(0),
    "diagonal": lambda x: x.diagonal(),
    "scalar": lambda x: x[1, 2, 3],
    "0-d": lambda x: torch.tensor(2.5),
    "empty": lambda x: x[:0],
    "empty inside": lambda x: x[:, 5:],
    "empty and new": lambda x: torch.empty(0),
    "one element": lambda x: x[1:2, 2:3, 3:4],
}


@pytest.mark.parametrize("name", VIEWS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.complex64], ids=str)
def test_views(roundtrip, rng, name, dtype):
    view = VIEWS[name](torch.from_numpy(rng.standard_normal((4, 5, 6))).to(dtype))
    expected = view.float().numpy() if dtype == torch.bfloat16 else view.numpy()
    assert_own(roundtrip((view,))[0], expected)


def test_conjugated_and_negated_views(roundtrip, rng):
    x = torch.from_numpy(rng.standard_normal((3, 4)) + 1j * rng.standard_normal((3, 4)))
    assert_own(roundtrip(x.conj()), x.numpy().conj())
    assert_own(roundtrip(x.conj().imag), -x.numpy().imag)


def test_tensors_that_share_memory_come_apart(roundtrip):
    x = torch.arange(12.0)
    state = roundtrip({"x": x, "again": x, "rows": x.view(3, 4), "column": x.view(3, 4)[:, 1]})
    expected = np.arange(12.0, dtype=np.float32)
    assert_own(state["column"], expected.reshape(3, 4)[:, 1])
    state["x"][:] = -1
    assert_own(state["again"], expected)
    assert_own(state["rows"], expected.reshape(3, 4))


def test_plain_containers(roundtrip):
    value = {
        "list": [1, [2.5, None], ()],
        "tuple": (True, False, "ö\n\ud800", b"\0\xff", bytearray(b"ab"), 1j),
        "numbers": [-1, 255, 256, 65535, 65536, -(2**31), 2**31, 2**63, -(2**70), float("inf"), 1e-300],
        "sets": [{1, "a", (1, 2)}, frozenset([b"x"]), set()],
        "ordered": collections.OrderedDict([("b", 1), ("a", 2)]),
        "counter": collections.Counter("aab"),
        ("a", 3): "a tuple as key",
        4: "a number as key",
    }
    result = roundtrip(value)
    assert result == value
    assert list(result) == list(value)
    assert [type(v) for v in result.values()] == [type(v) for v in value.values()]
    assert list(result["ordered"]) == ["b", "a"]
    assert [type(v) for v in result["sets"]] == [set, frozenset, set]


def test_defaultdict(roundtrip):
    value = collections.defaultdict(list, a=[1])
    result = roundtrip(value)
    assert result == value
    assert type(result) is collections.defaultdict
    assert result["new"] == []


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_pickle_protocols(roundtrip, protocol):
    value = {
        "x": [1.5, "text", b"bytes", {1}, frozenset([2]), (1, 2, 3, 4)],
        "long": "x" * 300,
        "many": list(range(1000)),
    }
    assert roundtrip(value, pickle_protocol=protocol) == value
    assert_own(roundtrip([torch.ones(3)], pickle_protocol=protocol)[0], np.ones(3, np.float32))


def test_shared_lists_stay_shared(roundtrip):
    shared = [torch.ones(2)]
    first, second = roundtrip([shared, shared])
    assert first is second
    assert_own(first[0], np.ones(2, np.float32))


def test_sizes_dtypes_devices(roundtrip):
    value = [
        torch.Size([2, 3]),
        torch.float32,
        torch.bfloat16,
        torch.device("cpu"),
        torch.device("cuda", 1),
        torch.strided,
    ]
    result = roundtrip(value)
    assert result == [(2, 3), "torch.float32", "torch.bfloat16", "cpu", "cuda:1", "torch.strided"]
    assert type(result[0]) is tuple


def test_parameters_and_buffers(roundtrip):
    parameter = torch.nn.Parameter(torch.arange(4.0), requires_grad=False)
    marked = torch.nn.Parameter(torch.arange(4.0))
    marked.note = "kept with the parameter"
    with_attribute = torch.arange(4.0)
    with_attribute.note = "and with a tensor"
    values = roundtrip([parameter, marked, with_attribute, torch.nn.Buffer(torch.arange(4.0))])
    for value in values:
        assert_own(value, np.arange(4, dtype=np.float32))


def test_storages(roundtrip):
    assert_own(
        roundtrip([torch.ones(2).untyped_storage()])[0], np.frombuffer(np.ones(2, np.float32).tobytes(), np.uint8)
    )


@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW, torch.optim.RMSprop])
def test_a_checkpoint_with_its_optimizer(roundtrip, optimizer):
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2))
    options = {"momentum": 0.9} if optimizer is torch.optim.SGD else {}
    steps = optimizer(model.parameters(), lr=0.1, **options)
    model(torch.randn(2, 1, 5, 5)).square().sum().backward()
    steps.step()
    scheduler = torch.optim.lr_scheduler.StepLR(steps, 2)
    checkpoint = {
        "model": model.state_dict(),
        "optimizer": steps.state_dict(),
        "epoch": 3,
        "schedule": scheduler.state_dict(),
    }
    assert_same(roundtrip(checkpoint), checkpoint)


def assert_same(result, expected):
    """The same tree, with an array for each tensor."""
    if isinstance(expected, torch.Tensor):
        assert_own(result, expected.detach().numpy())
    elif isinstance(expected, dict):
        assert isinstance(result, dict)
        assert list(result) == list(expected)
        for key in expected:
            assert_same(result[key], expected[key])
    elif isinstance(expected, (list, tuple)):
        assert type(result) is type(expected)
        assert len(result) == len(expected)
        for left, right in zip(result, expected):
            assert_same(left, right)
    else:
        assert result == expected


def test_the_top_folder_is_named_after_the_file(tmp_path):
    torch.save({"a": torch.ones(1)}, tmp_path / "some.model.bin")
    assert_own(minicnn.load(tmp_path / "some.model.bin")["a"], np.ones(1, np.float32))


def test_the_name_of_the_file_does_not_matter(tmp_path, container):
    path = saved({"a": torch.ones(1)}, tmp_path / "weights.safetensors", container)
    assert_own(minicnn.load(str(path))["a"], np.ones(1, np.float32))


def test_other_alignments_and_no_checksums(tmp_path):
    from torch.utils.serialization import config

    state = {"a": torch.arange(5.0), "b": torch.arange(7)}
    before = config.save.storage_alignment, torch.serialization.get_crc32_options()
    try:
        config.save.storage_alignment = 4096
        torch.serialization.set_crc32_options(False)
        torch.save(state, tmp_path / "a.pt")
    finally:
        config.save.storage_alignment = before[0]
        torch.serialization.set_crc32_options(before[1])
    assert_same(minicnn.load(tmp_path / "a.pt"), state)


@pytest.mark.filterwarnings("ignore:ComplexHalf")
def test_big_endian_files(tmp_path):
    halves = np.arange(6, dtype=np.float16)
    tensors = [
        torch.arange(6.0),
        torch.arange(6.0)[::2],
        torch.arange(6).bfloat16(),
        torch.arange(6),
        torch.ones(2) > 0,
    ]
    tensors += [torch.complex(torch.arange(3.0), torch.ones(3)), torch.from_numpy(halves).view(torch.complex32)]
    little = io.BytesIO()
    torch.save(tensors, little)
    words = [4, 4, 2, 8, 1, 4, 2]
    with zipfile.ZipFile(little) as archive:
        top = archive.namelist()[0].split("/")[0]
        pickled = archive.read(f"{top}/data.pkl")
        storages = {str(i): archive.read(f"{top}/data/{i}") for i in range(len(tensors))}
    swapped = {
        key: np.frombuffer(data, f"u{n}").byteswap().tobytes() for n, (key, data) in zip(words, storages.items())
    }
    (tmp_path / "big.pt").write_bytes(torch_zip(pickled, swapped, byteorder="big"))
    *plain, complex32 = minicnn.load(tmp_path / "big.pt")
    expected = [(t.float() if t.dtype == torch.bfloat16 else t).numpy() for t in tensors[:-1]]
    for array, tensor in zip(plain, expected):
        assert_own(array, tensor)
    assert_own(complex32, halves.astype(np.float32).view(np.complex64))


@pytest.mark.parametrize("storage_view", [False, True])
def test_the_tar_container(tmp_path, storage_view):
    whole = torch.arange(20.0)
    state = {
        "part": whole[4:16].view(3, 4).t(),
        "count": torch.arange(5),
        "0-d": torch.tensor(3.0),
        "none": torch.empty(0),
    }
    (tmp_path / "old.pth").write_bytes(torch_tar(state, storage_view))
    result = minicnn.load(tmp_path / "old.pth")
    assert type(result) is collections.OrderedDict
    assert_same(result, state)


def test_python_2_and_the_first_versions(tmp_path):
    """`FloatTensor` built from its state, `Parameter` called with a tensor, strings of Python 2, part of a storage."""
    storage = b"(U\x07storagectorch\nFloatStorage\nU\x01kU\x03cpuK\x06"
    tensor = b"ctorch\nFloatTensor\n)\x81(" + storage + b"NtQK\x01K\x02\x85K\x02\x85tb"
    view = b"ctorch._utils\n_rebuild_tensor\n(" + storage + b"(U\x01vK\x02K\x03ttQK\x01K\x02\x85K\x01\x85tR"
    parameter = b"ctorch.nn.parameter\nParameter\n" + tensor + b"\x85R(\x88\x89Ntb"
    pickled = b"\x80\x02(" + tensor + view + parameter + b"U\x03abcU\x01\xfft."
    raw = (6).to_bytes(8, "little") + np.arange(6, dtype=np.float32).tobytes()
    (tmp_path / "old.th").write_bytes(legacy(pickled, [("k", raw)]))
    first, second, third, text, data = minicnn.load(tmp_path / "old.th")
    assert_own(first, np.array([1, 3], np.float32))
    assert_own(second, np.array([3, 4], np.float32))
    assert_own(third, np.array([1, 3], np.float32))
    assert (text, data) == ("abc", b"\xff")


def test_python_2_containers(tmp_path):
    pairs = b"ccollections\nOrderedDict\n](](U\x01aK\x01ee\x85R"
    members = b"c__builtin__\nset\n](K\x01K\x02e\x85R"
    (tmp_path / "old.pth").write_bytes(legacy(b"\x80\x02(" + pairs + members + b"t."))
    assert minicnn.load(tmp_path / "old.pth") == (collections.OrderedDict(a=1), {1, 2})


def test_real_weights(data_root):
    path = data_root / "weights" / "resnet18-imagenet.pth"
    assert_same(minicnn.load(path), torch.load(path))


REFUSED = {
    "sparse": (lambda: torch.eye(2).to_sparse(), "sparse"),
    "csr": (lambda: torch.eye(2).to_sparse_csr(), "sparse"),
    "quantised": (lambda: torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8), "quantised"),
    "without data": (lambda: torch.ones(2, device="meta"), "without data"),
    "packed": (lambda: torch.zeros(2, dtype=torch.uint8).view(torch.float4_e2m1fn_x2), "float4_e2m1fn_x2"),
    "nested": (lambda: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]), "nested"),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", REFUSED)
def test_other_tensors_are_a_value_error(roundtrip, name):
    make, word = REFUSED[name]
    with pytest.raises(ValueError, match=word) as caught:
        roundtrip([make()])
    assert not isinstance(caught.value, minicnn.UnsafeFileError)


@pytest.mark.parametrize(
    ("value", "word"),
    [
        (torch.nn.Linear(2, 2), "torch.nn.modules.linear.Linear"),
        ([np.ones(2)], "numpy"),
        (collections.deque([1]), "collections.deque"),
        (torch.nn.Linear, "torch.nn.modules.linear.Linear"),
        (torch.FloatStorage, "torch.FloatStorage"),
        (ValueError("x"), "ValueError"),
        (torch.add, "getattr"),
        (range(3), "range"),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),  # no addresses: pytest-xdist compares the names
)
def test_anything_else_is_refused_by_name(roundtrip, value, word):
    with pytest.raises(minicnn.UnsafeFileError, match=word):
        roundtrip(value)


@pytest.mark.filterwarnings("ignore")
def test_torchscript_is_a_value_error(tmp_path):
    torch.jit.script(torch.nn.Linear(2, 2)).save(str(tmp_path / "script.pt"))
    with pytest.raises(ValueError, match=r"script\.pt.*TorchScript"):
        minicnn.load(tmp_path / "script.pt")


def test_an_expanded_tensor_out_of_proportion(roundtrip):
    assert roundtrip(torch.ones(1).expand(1000, 1000)).shape == (1000, 1000)
    with pytest.raises(ValueError, match="over 8 times"):
        roundtrip(torch.ones(1).expand(10000, 10000))


def test_unreadable_files(tmp_path):
    for path in (tmp_path / "missing.pth", tmp_path, "/dev/zero", tmp_path / ("x" * 300), tmp_path / "a" / "b\n"):
        with pytest.raises(OSError, match="cannot be read") as caught:
            minicnn.load(path)
        assert len(str(caught.value)) < 400
        assert "\n" not in str(caught.value)
    with pytest.raises(TypeError, match="int"):
        minicnn.load(3)
    with pytest.raises(ValueError, match="null"):
        minicnn.load("a\0b")
