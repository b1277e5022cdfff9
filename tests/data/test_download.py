"""Downloads, from a server on 127.0.0.1. No test reaches further."""

import gzip
import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from minicnn.data import MNIST, download, fetch

BODY = np.random.default_rng(0).bytes(700_000)
MD5 = hashlib.md5(BODY).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves `files`, the first `breaks` times only `break_after` bytes of one; notes the Range of each request."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.ranges = {"/a.bin": BODY}, []
        self.knows_ranges, self.breaks, self.break_after, self.shift = True, 0, 300_000, 0

    def address(self, name=""):
        return f"http://127.0.0.1:{self.server_port}/{name}"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        asked = self.headers.get("Range")
        self.server.ranges.append(asked)
        body = self.server.files.get(self.path)
        if body is None:
            self.send_error(404)
            return
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and self.server.knows_ranges else 0
        if start >= len(body):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body) - start))
        if start:
            begin = start + self.server.shift
            self.send_header("Content-Range", f"bytes {begin}-{len(body) - 1}/{len(body)}")
        self.end_headers()
        if self.server.breaks > 0:
            self.server.breaks -= 1
            self.wfile.write(body[start : start + self.server.break_after])
            self.close_connection = True
        else:
            self.wfile.write(body[start:])

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server():
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def get(server, place, md5=MD5, name="a.bin", **options):
    fetch.fetch(server.address(name), place, md5, **{"timeout": 5, "pause": 0.0, **options})


def leftovers(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_whole_file(server, tmp_path):
    get(server, tmp_path / "a.bin")
    assert (tmp_path / "a.bin").read_bytes() == BODY
    assert leftovers(tmp_path) == ["a.bin"]
    assert server.ranges == [None]


def test_a_broken_transfer_goes_on_where_it_stopped(server, tmp_path):
    server.breaks = 2
    get(server, tmp_path / "a.bin")
    assert (tmp_path / "a.bin").read_bytes() == BODY
    assert server.ranges == [None, "bytes=300000-", "bytes=600000-"]


def test_a_later_run_goes_on_where_the_first_stopped(server, tmp_path):
    server.breaks = 1
    with pytest.raises(OSError, match="the connection broke off after 300000 of 700000 bytes"):
        get(server, tmp_path / "a.bin", attempts=1)
    assert leftovers(tmp_path) == ["a.bin.part"]
    get(server, tmp_path / "a.bin", attempts=1)
    assert (tmp_path / "a.bin").read_bytes() == BODY
    assert server.ranges == [None, "bytes=300000-"]


def test_a_server_without_ranges_sends_it_all_again(server, tmp_path):
    server.knows_ranges, server.breaks = False, 1
    get(server, tmp_path / "a.bin")
    assert (tmp_path / "a.bin").read_bytes() == BODY
    assert len(server.ranges) == 2


def test_a_file_that_changed_meanwhile_is_fetched_anew(server, tmp_path):
    (tmp_path / "a.bin.part").write_bytes(b"x" * 1000)
    get(server, tmp_path / "a.bin", attempts=1)
    assert (tmp_path / "a.bin").read_bytes() == BODY
    assert server.ranges == ["bytes=1000-", None]


@pytest.mark.parametrize("part", [BODY, BODY + b"more"])
def test_a_part_that_is_whole_or_too_long(server, tmp_path, part):
    (tmp_path / "a.bin.part").write_bytes(part)
    get(server, tmp_path / "a.bin", attempts=1)
    assert (tmp_path / "a.bin").read_bytes() == BODY
    assert leftovers(tmp_path) == ["a.bin"]


def test_another_range_than_asked_for_is_not_appended(server, tmp_path):
    (tmp_path / "a.bin.part").write_bytes(BODY[:1000])
    server.shift = 5
    get(server, tmp_path / "a.bin", attempts=2)
    assert (tmp_path / "a.bin").read_bytes() == BODY
    assert server.ranges == ["bytes=1000-", None]


def test_a_wrong_checksum_leaves_nothing(server, tmp_path):
    with pytest.raises(ValueError, match="has not the published checksum"):
        get(server, tmp_path / "a.bin", md5="0" * 32)
    assert leftovers(tmp_path) == []


def one_line(error):
    text = str(error.value)
    assert "\n" not in text
    assert len(text) < 400
    return text


def test_a_missing_file_is_not_asked_for_again(server, tmp_path):
    with pytest.raises(OSError, match="HTTP 404") as error:
        get(server, tmp_path / "b.bin", name="b.bin")
    assert f"fetch it by hand and put it at {tmp_path / 'b.bin'}" in one_line(error)
    assert len(server.ranges) == 1


def test_nobody_answers(server, tmp_path):
    closed = Server()
    closed.server_close()
    with pytest.raises(OSError, match="could not fetch") as error:
        get(closed, tmp_path / "new" / "a.bin", attempts=2)
    assert leftovers(tmp_path) == []
    assert "put it at" in one_line(error)


def test_a_silent_server_times_out(tmp_path):
    import socket

    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"http://127.0.0.1:{listener.getsockname()[1]}/a.bin"
        with pytest.raises(OSError, match="timed out"):
            fetch.fetch(address, tmp_path / "a.bin", MD5, attempts=1, timeout=0.2, pause=0.0)


def serve_mnist(server, monkeypatch):
    """The four files, each a few bytes long, with their own checksums in place of the published ones."""
    body = {
        "train-images-idx3-ubyte.gz": gzip.compress(b"\0\0\x08\x03\0\0\0\1\0\0\0\1\0\0\0\1\x05"),
        "train-labels-idx1-ubyte.gz": gzip.compress(b"\0\0\x08\x01\0\0\0\1\x07"),
        "t10k-images-idx3-ubyte.gz": gzip.compress(b"\0\0\x08\x03\0\0\0\1\0\0\0\1\0\0\0\1\x06"),
        "t10k-labels-idx1-ubyte.gz": gzip.compress(b"\0\0\x08\x01\0\0\0\1\x08"),
    }
    server.files = {"/" + name: content for name, content in body.items()}
    files = tuple(fetch.RemoteFile(name, hashlib.md5(content).hexdigest()) for name, content in body.items())
    remote = fetch.RemoteSet(server.address(), ("mnist", "MNIST/raw"), files)
    monkeypatch.setitem(fetch.SETS, "mnist", remote)


def test_a_data_set_is_fetched_once(server, tmp_path, monkeypatch):
    serve_mnist(server, monkeypatch)
    root = download("mnist", tmp_path / "new")
    assert root == tmp_path / "new"
    assert MNIST(root)[0][1] == 7
    assert MNIST(root, train=False)[0][1] == 8
    assert len(server.ranges) == 4
    download("mnist", tmp_path / "new")
    assert len(server.ranges) == 4


def test_files_that_are_there_are_left_alone(server, tmp_path, monkeypatch):
    serve_mnist(server, monkeypatch)
    mine = tmp_path / "MNIST" / "raw" / "train-images-idx3-ubyte"
    mine.parent.mkdir(parents=True)
    mine.write_bytes(b"mine")
    download("mnist", tmp_path)
    assert len(server.ranges) == 3
    assert mine.read_bytes() == b"mine"


def test_the_published_sets():
    assert list(fetch.SETS) == ["mnist", "fashion-mnist", "cifar10"]
    for remote in fetch.SETS.values():
        assert remote.address.endswith("/")
        assert all(len(file.md5) == 32 for file in remote.files)


def test_checksums_are_those_of_torchvision():
    from torchvision_import import import_torchvision

    datasets = import_torchvision().datasets
    for name, theirs in (("mnist", datasets.MNIST), ("fashion-mnist", datasets.FashionMNIST)):
        assert [tuple(file) for file in fetch.SETS[name].files] == theirs.resources
        assert fetch.SETS[name].address in theirs.mirrors


def test_bad_calls(tmp_path):
    with pytest.raises(ValueError, match="name must be one of mnist, fashion-mnist, cifar10; got 'imagenet'"):
        download("imagenet", tmp_path)
    with pytest.raises(TypeError, match="name must be a string, got int"):
        download(1, tmp_path)
    with pytest.raises(TypeError, match="root must be a path, got None"):
        download("mnist", None)
    with pytest.raises(ValueError, match="attempts must be at least 1, got 0"):
        download("mnist", tmp_path, attempts=0)
