"""Whole networks."""

from .resnet import ResNet, resnet18, resnet34
from .simple_cnn import SimpleCNN
