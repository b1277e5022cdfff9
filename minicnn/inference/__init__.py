"""Inference: `minicnn.compile` turns a model into a fixed list of steps."""

from .compiled import CompiledModel, compile
