"""Data sets, transforms and the loader that makes batches of them.

An item of a data set is (image, label). Without a transform the image is a float32 (C, H, W) array in [0, 1]; a
transform is called with a Pillow image (`ImageFolder`) or a uint8 (H, W, C) array (the others).

>>> from minicnn.data import DataLoader, Digits
>>> for x, y in DataLoader(Digits(), batch_size=32, shuffle=True, seed=0):
...     pass  # x: float32 (32, 1, 8, 8), y: int64 (32,)
"""

from . import transforms
from .arrays import ArrayDataset
from .cifar import CIFAR10
from .digits import Digits, load_digits
from .fetch import download
from .folder import ImageFolder
from .images import read_image
from .loader import DataLoader
from .mnist import MNIST, FashionMNIST
from .split import Subset, stratified_split

__all__ = [
    "CIFAR10", "MNIST", "ArrayDataset", "DataLoader", "Digits", "FashionMNIST", "ImageFolder", "Subset", "download",
    "load_digits", "read_image", "stratified_split", "transforms",
]  # fmt: skip
