"""Exercises in backpropagation: mend a broken backward and see its gradient check turn green.

    minicnn lab              what there is, and how far you are
    minicnn lab start 1      writes lab/01_factor.py: a piece of the reference backend with one thing wrong
    minicnn lab check 1      the gradient check of minicnn.inspect, with your file in the place of the package's code

The sound code is the package's own, and the file is made from its source: neither can go out of date.
"""

from .checking import Result, check
from .exercise import Exercise
from .first import FIRST
from .folder import LabFolder
from .second import SECOND
from .source import broken_file, difference, own_file
from .third import THIRD

EXERCISES: tuple[Exercise, ...] = (*FIRST, *SECOND, *THIRD)
