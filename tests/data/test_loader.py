"""The loader: batches, order, augmentation, workers, errors."""

import threading
import time

import numpy as np
import pytest
from PIL import Image

import minicnn
from minicnn.data import MNIST, ArrayDataset, DataLoader, Digits, ImageFolder, Subset, transforms


class Squares:
    """Ten items: a constant (2, 3, 4) image and its number."""

    def __init__(self, count=10):
        self.count = count

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        if not 0 <= index < self.count:
            raise IndexError(index)
        return np.full((2, 3, 4), index, dtype=np.float64), index


class Augmented(Squares):
    """Items that draw from the item's generator, after a pause that mixes up the threads."""

    def __getitem__(self, index):
        time.sleep(0.002 * (index % 3))
        return transforms.item_generator().random(4).astype(np.float32), np.int32(index)


def drain(loader):
    return [(x.copy(), y.tolist()) for x, y in loader]


def same(first, second):
    return len(first) == len(second) and all(
        y == other_y and x.tobytes() == other_x.tobytes() for (x, y), (other_x, other_y) in zip(first, second)
    )


def loader_threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("minicnn-loader")]


@pytest.mark.parametrize("workers", [0, 1, 3])
@pytest.mark.parametrize(("drop_last", "sizes"), [(False, [4, 4, 2]), (True, [4, 4])])
def test_batches(workers, drop_last, sizes):
    loader = DataLoader(Squares(), 4, drop_last=drop_last, workers=workers)
    assert len(loader) == len(sizes)
    seen = 0
    for (x, y), size in zip(loader, sizes, strict=True):
        assert (x.shape, x.dtype, x.flags.c_contiguous) == ((size, 2, 3, 4), np.float32, True)
        assert (y.shape, y.dtype) == ((size,), np.int64)
        assert y.tolist() == list(range(seen, seen + size))
        np.testing.assert_array_equal(x[:, 1, 2, 3], y)
        seen += size
    assert loader_threads() == []


def test_a_list_is_a_data_set_and_an_empty_one_has_no_batches():
    pairs = [(np.zeros((1, 2, 2), np.float32), 3), [np.ones((1, 2, 2), np.float32), np.array(4)]]
    ((x, y),) = DataLoader(pairs, 8)
    assert x[:, 0, 0, 0].tolist() == [0, 1]
    assert y.tolist() == [3, 4]
    for workers in (0, 2):
        assert list(DataLoader([], 8, shuffle=True, workers=workers)) == []
        assert list(DataLoader(Squares(3), 4, drop_last=True, workers=workers)) == []


def test_memory_resident_sets_give_what_their_items_give():
    digits = Digits(train=False)
    plain = [digits[index] for index in range(len(digits))]
    for first, second in zip(DataLoader(digits, 64, True, 5), DataLoader(plain, 64, True, 5), strict=True):
        np.testing.assert_array_equal(first[0], second[0])
        np.testing.assert_array_equal(first[1], second[1])
        assert first[0].flags.c_contiguous
        assert (first[0].dtype, first[1].dtype) == (np.float32, np.int64)
    subset = Subset(digits, np.arange(10, 20))
    ((x, y),) = DataLoader(subset, 64)
    np.testing.assert_array_equal(x, [digits[index][0] for index in range(10, 20)])
    assert y.tolist() == digits.targets[10:20].tolist()


def test_order_of_a_seed():
    loader = DataLoader(Squares(100), 100, shuffle=True, seed=1)
    first, second = (next(iter(loader))[1].tolist() for _ in range(2))
    assert sorted(first) == sorted(second) == list(range(100))
    assert first != second
    assert first != list(range(100))
    again = DataLoader(Squares(100), 100, shuffle=True, seed=1)
    assert next(iter(again))[1].tolist() == first
    other = DataLoader(Squares(100), 100, shuffle=True, seed=2)
    assert next(iter(other))[1].tolist() not in (first, second)


def test_epoch_can_be_set_to_resume():
    loader = DataLoader(Augmented(), 4, shuffle=True, seed=9)
    epochs = [drain(loader) for _ in range(3)]
    assert loader.epoch == 3
    assert not same(epochs[0], epochs[1])
    resumed = DataLoader(Augmented(), 4, shuffle=True, seed=9, workers=2)
    resumed.epoch = 2
    assert same(drain(resumed), epochs[2])
    assert resumed.epoch == 3
    resumed.epoch = -1
    with pytest.raises(ValueError, match="epoch must be at least 0"):
        iter(resumed)


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("seed", [None, 4])
def test_augmentation_does_not_depend_on_the_workers(seed, shuffle):
    runs = []
    for workers in (0, 1, 2, 5):
        minicnn.manual_seed(11)
        loader = DataLoader(Augmented(23), 4, shuffle=shuffle, seed=seed, workers=workers)
        runs.append(drain(loader) + drain(loader))
    assert all(same(run, runs[0]) for run in runs)
    first, second = runs[0][:6], runs[0][6:]
    assert not same(first, second)  # another epoch draws other numbers
    values = np.concatenate([x for x, _ in runs[0]])
    assert len(np.unique(values)) == values.size  # as do other items


def test_augmentation_of_an_item_depends_on_its_index_alone():
    by_index = {}
    for options in ({"batch_size": 4}, {"batch_size": 7, "shuffle": True}):
        for x, y in DataLoader(Augmented(20), seed=3, **options):
            for value, index in zip(x, y.tolist()):
                by_index.setdefault(index, []).append(value.tobytes())
    assert all(len(set(values)) == 1 for values in by_index.values())


def test_manual_seed_decides_where_no_seed_is_given():
    loader = DataLoader(Augmented(), 4, shuffle=True)
    minicnn.manual_seed(5)
    first = drain(loader)
    second = drain(loader)
    minicnn.manual_seed(5)
    assert same(drain(loader), first)
    assert not same(second, first)


def test_iterators_of_one_loader_are_independent():
    loader = DataLoader(Squares(), 5, shuffle=True, seed=0, workers=1)
    pairs = list(zip(loader, loader))
    assert sorted(np.concatenate([first[1] for first, _ in pairs])) == list(range(10))
    assert sorted(np.concatenate([second[1] for _, second in pairs])) == list(range(10))


@pytest.mark.parametrize("error", [ValueError("broken"), OSError(2, "No such file", "x.jpg"), RuntimeError(1, 2)])
@pytest.mark.parametrize("workers", [0, 2])
def test_errors_reach_the_consumer_and_name_the_sample(workers, error):
    class Failing(Squares):
        def __getitem__(self, index):
            if index == 6:
                raise error
            return super().__getitem__(index)

    error.args = type(error)(*error.args).args
    batches = iter(DataLoader(Failing(), 3, workers=workers))
    assert next(batches)[1].tolist() == [0, 1, 2]
    assert next(batches)[1].tolist() == [3, 4, 5]
    with pytest.raises(type(error)) as caught:
        next(batches)
    assert "sample 6" in str(caught.value) + "".join(getattr(caught.value, "__notes__", []))
    with pytest.raises(StopIteration):
        next(batches)
    assert loader_threads() == []


def test_a_broken_photograph_is_named(tmp_path):
    (tmp_path / "ants").mkdir()
    Image.new("RGB", (4, 4)).save(tmp_path / "ants" / "a.png")
    (tmp_path / "ants" / "b.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"sample 1: .*b\.png is not a usable image"):
        list(DataLoader(ImageFolder(tmp_path), 2, workers=2))


@pytest.mark.parametrize("workers", [0, 2])
def test_different_sizes_in_one_batch(workers):
    pairs = [(np.zeros((3, 4, 4), np.float32), 0), (np.zeros((3, 5, 4), np.float32), 1)]
    with pytest.raises(ValueError, match=r"sample 1 has shape \(3, 5, 4\), sample 0 of the same batch \(3, 4, 4\)"):
        list(DataLoader(pairs, 2, workers=workers))
    assert len(list(DataLoader(pairs, 1, workers=workers))) == 2


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        (np.zeros((3, 4, 4), np.float32), "sample 0 must be \\(image, label\\), got an array"),
        ((1, 2, 3), "sample 0 must be \\(image, label\\), got tuple"),
        ((Image.new("L", (2, 2)), 1), "sample 0 is a Pillow image: end its transform with ToArray\\(\\)"),
        ((np.zeros((4, 4, 3), np.uint8), 1), "uint8, shape \\(4, 4, 3\\): end its transform with ToArray\\(\\)"),
        ((np.array(["a"]), 1), "must be an array of floats"),
        ((np.zeros(3, complex), 1), "must be an array of floats"),
        ((np.zeros(3), 1.0), "the label of sample 0 must be an integer, got float"),
        ((np.zeros(3), True), "the label of sample 0 must be an integer, got bool"),
        ((np.zeros(3), np.zeros(1, int)), "the label of sample 0 must be an integer, got an array"),
        ((np.zeros(3), None), "the label of sample 0 must be an integer, got None"),
    ],
)
def test_items_of_another_form(item, reason):
    with pytest.raises(TypeError, match=reason):
        list(DataLoader([item], 1))


def interrupt(loader):
    for _ in loader:
        raise KeyboardInterrupt


@pytest.mark.parametrize("way", ["break", "error", "close", "never started", "exhausted"])
def test_no_thread_outlives_its_loop(way):
    loader = DataLoader(Augmented(40), 2, workers=3)
    if way == "break":
        for _ in loader:
            break
    elif way == "error":
        with pytest.raises(KeyboardInterrupt):
            interrupt(loader)
    elif way == "close":
        batches = iter(loader)
        next(batches)
        assert loader_threads()
        batches.close()
    elif way == "never started":
        iter(loader)
    else:
        list(loader)
    assert loader_threads() == []


def test_loading_ahead_is_bounded():
    started = []

    class Counting(Squares):
        def __getitem__(self, index):
            started.append(index)
            return super().__getitem__(index)

    batches = iter(DataLoader(Counting(100), 1, workers=2))
    next(batches)
    time.sleep(0.1)
    assert len(started) <= 1 + 4 + 1
    batches.close()


def test_workers_work_at_the_same_time():
    together = threading.Barrier(3, timeout=10)

    class Waiting(Squares):
        def __getitem__(self, index):
            together.wait()
            return super().__getitem__(index)

    assert len(list(DataLoader(Waiting(9), 1, workers=3))) == 9


def test_settings_of_a_with_block_hold_in_the_workers():
    class Asking(Squares):
        def __getitem__(self, index):
            return np.zeros(1), int(minicnn.get_backend() == "reference")

    with minicnn.backend("reference"):
        assert [y.tolist() for _, y in DataLoader(Asking(4), 2, workers=2)] == [[1, 1], [1, 1]]


@pytest.mark.parametrize(
    ("options", "kind", "reason"),
    [
        ({"batch_size": 0}, ValueError, "batch_size must be at least 1, got 0"),
        ({"batch_size": 2.0}, TypeError, "batch_size must be an int, got float"),
        ({"batch_size": True}, TypeError, "batch_size must be an int, got bool"),
        ({"shuffle": 1}, TypeError, "shuffle must be True or False, got int"),
        ({"seed": -1}, ValueError, "seed must be at least 0, got -1"),
        ({"seed": "x"}, TypeError, "seed must be an int, got str"),
        ({"drop_last": None}, TypeError, "drop_last must be True or False, got None"),
        ({"workers": -1}, ValueError, "workers must be at least 0, got -1"),
        ({"dataset": 3}, TypeError, "dataset must have __len__ and __getitem__, got int"),
    ],
)
def test_bad_calls(options, kind, reason):
    with pytest.raises(kind, match=reason):
        DataLoader(**{"dataset": Squares(), "batch_size": 2, **options})


def test_photographs_with_augmentation(data_root):
    folder = ImageFolder(data_root / "hymenoptera" / "val", transform=transforms.imagenet_train(64))
    subset = Subset(folder, np.arange(0, 153, 10))
    runs = [drain(DataLoader(subset, 5, shuffle=True, seed=1, workers=workers)) for workers in (0, 2)]
    assert same(*runs)
    assert runs[0][0][0].shape == (5, 3, 64, 64)


def test_mnist_with_augmentation_of_small_images(data_root):
    augment = transforms.Compose(
        [transforms.RandomCrop(28, padding=2), transforms.ToArray(), transforms.Normalize(0.1307, 0.3081)]
    )
    train = MNIST(data_root, transform=augment)
    x, y = next(iter(DataLoader(train, 256, shuffle=True, seed=0, workers=1)))
    assert x.shape == (256, 1, 28, 28)
    assert abs(x.mean()) < 0.15
    assert set(y.tolist()) == set(range(10))
    assert isinstance(train, ArrayDataset)
