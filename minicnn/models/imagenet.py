"""The 1000 classes of ImageNet's classification challenge, in the order in which published models number them.

imagenet_classes.tsv has a line a class: index, WordNet id (wnid), name. The order is that of the sorted wnids; a name
is the first word of the class's WordNet synset (ILSVRC 2012, O. Russakovsky et al., "ImageNet Large Scale Visual
Recognition Challenge", 2015). Two names, crane and maillot, stand for two classes each: the wnid tells them apart.
"""

from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

FILE = Path(__file__).with_name("imagenet_classes.tsv")


class ImageNetClass(NamedTuple):
    """One of the 1000."""

    index: int  # type: ignore[assignment]  # hides tuple.index, which nobody needs
    wnid: str
    name: str


@lru_cache
def imagenet_classes() -> tuple[ImageNetClass, ...]:
    """The classes; position i is logit i of a model trained on ImageNet.

    >>> imagenet_classes()[207]
    ImageNetClass(index=207, wnid='n02099601', name='golden retriever')
    """
    lines = FILE.read_text(encoding="utf-8").splitlines()
    found = (line.split("\t") for line in lines)
    return tuple(ImageNetClass(int(index), wnid, name) for index, wnid, name in found)
