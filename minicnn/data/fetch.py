"""Downloads: the published files from their official addresses, resumed where they broke off, and verified.

A file grows as `NAME.part` beside its place and is renamed when its checksum is right, so that what has the name of a
data file is whole.
"""

import hashlib
import http.client
import os
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import NamedTuple

from . import check, cifar
from .mnist import MNIST, FashionMNIST, idx_names
from .reading import LARGEST, find, folder_of

CHUNK = 1 << 18


class RemoteFile(NamedTuple):
    name: str
    md5: str  # published beside the file; torchvision checks the same ones


class RemoteSet(NamedTuple):
    address: str  # of the folder that has the files
    subfolders: tuple[str, ...]  # of root; the first is where they go ("" for root itself)
    files: tuple[RemoteFile, ...]


SETS = {
    "mnist": RemoteSet(
        MNIST.source,
        MNIST.subfolders,
        (
            RemoteFile("train-images-idx3-ubyte.gz", "f68b3c2dcbeaaa9fbdd348bbdeb94873"),
            RemoteFile("train-labels-idx1-ubyte.gz", "d53e105ee54ea40749a09fcbcd1e9432"),
            RemoteFile("t10k-images-idx3-ubyte.gz", "9fb629c4189551a2d022fa330f9573f3"),
            RemoteFile("t10k-labels-idx1-ubyte.gz", "ec29112dd5afa0611ce80d1b7f02629c"),
        ),
    ),
    "fashion-mnist": RemoteSet(
        FashionMNIST.source,
        FashionMNIST.subfolders,
        (
            RemoteFile("train-images-idx3-ubyte.gz", "8d4fb7e6c68d591d4c3dfef9ec88bf0d"),
            RemoteFile("train-labels-idx1-ubyte.gz", "25c81989df183df01b3e8a0aad5dffbe"),
            RemoteFile("t10k-images-idx3-ubyte.gz", "bef4ecab320f06d8554ea6380940ec79"),
            RemoteFile("t10k-labels-idx1-ubyte.gz", "bb300cfdad3c16e7a12a480ee83cd310"),
        ),
    ),
    "cifar10": RemoteSet(
        cifar.SOURCE.removesuffix(cifar.ARCHIVE),
        ("",),
        (RemoteFile(cifar.ARCHIVE, "c32a1d4ab5d03f1284b67883e8d87530"),),
    ),
}


def download(name: str, root: str | os.PathLike, *, attempts: int = 3, timeout: float = 30.0) -> Path:
    """Fetch "mnist", "fashion-mnist" or "cifar10" into root and return root, for the class that reads it.

    MNIST's files go into root/mnist/, Fashion-MNIST's into root/fashion-mnist/, CIFAR-10's archive into root itself.
    What is there already is left alone; a download that broke off goes on where it stopped. attempts: connections a
    file; timeout: seconds that a connection may be silent. Progress is shown where stderr is a terminal.

    `OSError` where the network fails, in one line that says what to fetch by hand and where to put it; `ValueError` for
    an unknown name, and for a file whose checksum is not the published one (it is deleted).

    >>> download("imagenet", ".")
    Traceback (most recent call last):
    ValueError: download: name must be one of mnist, fashion-mnist, cifar10; got 'imagenet'
    """
    if not isinstance(name, str):
        raise TypeError(f"download: name must be a string, got {check.describe(name)}")
    if name not in SETS:
        raise ValueError(f"download: name must be one of {', '.join(SETS)}; got {check.short(name)}")
    attempts = check.integer("download", "attempts", attempts, 1)
    remote = SETS[name]
    folders = folder_of("download", root, remote.subfolders)
    for file in remote.files:
        if not any(find(folder, _local_names(file)) for folder in folders):
            fetch(remote.address + file.name, folders[0] / file.name, file.md5, attempts, timeout)
    return folders[-1]


def _local_names(file: RemoteFile) -> list[str]:
    """Under which names the file may lie there already."""
    if not file.name.endswith("-ubyte.gz"):
        return [file.name]
    part, _, kind = file.name.removesuffix("-ubyte.gz").partition("-")
    return idx_names(part, kind)


def fetch(address: str, place: Path, md5: str, attempts: int = 3, timeout: float = 30.0, pause: float = 1.0) -> None:
    """Fetch one file to `place`, going on with `place.part` where there is one.

    A part that turns out wrong (the file on the server has changed since, or the disk lost something) is thrown away
    and the file fetched anew. pause: seconds between attempts.
    """
    part = place.with_name(place.name + ".part")
    failures = 0
    while True:
        resumed = part.exists()
        try:
            _transfer(address, part, timeout)
        except (OSError, http.client.HTTPException) as error:
            failures += 1
            refused = isinstance(error, urllib.error.HTTPError) and 400 <= error.code < 500
            if refused or failures >= attempts:
                raise OSError(
                    f"download: could not fetch {address} ({_reason(error)}): try again, or fetch it by hand and "
                    f"put it at {place}"
                ) from None
            time.sleep(pause)
            continue
        if _md5(part) == md5:
            os.replace(part, place)
            return
        part.unlink()
        if not resumed:
            raise ValueError(f"download: {address} has not the published checksum (md5 {md5}): the file was discarded")


def _transfer(address: str, part: Path, timeout: float) -> None:
    """Append to `part` what is missing of the file, or fetch all of it where the server cannot send the rest."""
    from tqdm import tqdm

    have = part.stat().st_size if part.exists() else 0
    headers = {"User-Agent": "minicnn"}
    if have:
        headers["Range"] = f"bytes={have}-"
    try:
        response = urllib.request.urlopen(urllib.request.Request(address, headers=headers), timeout=timeout)
    except urllib.error.HTTPError as error:
        error.close()
        if have and error.code == 416:  # nothing follows: the part is the whole file, or of another one
            return
        raise
    with response:
        if response.status != 206:
            have = 0
        elif not response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            part.unlink()
            raise OSError("the server sent another part of the file than it was asked for")
        length = response.headers.get("Content-Length", "")
        total = have + int(length) if length.isdigit() else None
        part.parent.mkdir(parents=True, exist_ok=True)  # not before somebody answers
        with (
            open(part, "ab" if have else "wb") as file,
            tqdm(
                total=total, initial=have, unit="B", unit_scale=True, desc=part.stem, disable=not sys.stderr.isatty()
            ) as bar,
        ):
            while block := response.read(CHUNK):
                file.write(block)
                have += len(block)
                bar.update(len(block))
                if have > LARGEST:
                    raise OSError("the server sends more than any of these files holds")
    if total is not None and have < total:
        raise OSError(f"the connection broke off after {have} of {total} bytes")


def _reason(error: Exception) -> str:
    """Why, on one line."""
    if isinstance(error, urllib.error.HTTPError):
        return f"HTTP {error.code} {error.reason}"
    reason = getattr(error, "reason", error)
    return " ".join(str(reason).split())[:120] or type(error).__name__


def _md5(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
