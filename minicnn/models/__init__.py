"""Whole networks."""

from .imagenet import ImageNetClass, imagenet_classes
from .resnet import ResNet, resnet18, resnet34
from .simple_cnn import SimpleCNN
