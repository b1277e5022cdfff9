"""Layers: who holds parameters, gradients and what a backward needs.

>>> import numpy as np
>>> from minicnn import nn
>>> model = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 8 * 8, 10))
>>> criterion = nn.CrossEntropyLoss()
>>> x, target = np.zeros((2, 1, 8, 8), np.float32), np.array([3, 7])
>>> loss = criterion(model(x), target)
>>> dx = model.backward(criterion.backward())
>>> dx.shape, model[0].weight.grad.shape
((2, 1, 8, 8), (4, 1, 3, 3))
"""

from . import init
from .activation import GELU, LeakyReLU, LogSoftmax, ReLU, Sigmoid, SiLU, Softmax, Tanh
from .containers import Concat, Residual, Sequential
from .conv import Conv2d, ConvTranspose2d
from .linear import Linear
from .loss import BCEWithLogitsLoss, CrossEntropyLoss, MSELoss, NLLLoss
from .module import Module
from .norm import BatchNorm2d
from .parameter import Parameter
from .pooling import AdaptiveAvgPool2d, AvgPool2d, MaxPool2d
from .shape import Dropout, Flatten, Identity, Upsample
