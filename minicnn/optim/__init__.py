"""Optimisers and learning-rate schedules: parameters move against their gradients.

>>> import numpy as np
>>> from minicnn import nn, optim
>>> p = nn.Parameter(np.array([1.0, 2.0]))
>>> optimizer = optim.SGD([p], lr=0.5)
>>> p.grad = np.array([2.0, 0.0])
>>> optimizer.step()
>>> p.data
array([0., 2.])
"""

from . import lr_scheduler
from .adam import Adam, AdamW
from .clip import clip_grad_norm_
from .optimizer import Optimizer
from .rmsprop import RMSprop
from .sgd import SGD
