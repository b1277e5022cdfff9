"""Measuring: every figure beside its peer, in one process and one run. `minicnn bench` prints what this room finds.

environment   what decides the figures besides the code
peak          what the machine can do: multiply-adds and copying, measured in the same run
harness       a case is checked against float64, then timed in turns with its peers
operations    operations of `functional` on the layers of ResNet18 and of the small network
steps         whole training steps, and those of the optimisers
network       compiled inference of ResNet18 beside the inference engines (engines, onnx_file)
children      what only a process of its own can tell: peak memory, time to the first prediction
runs          what the measured process does, and how it is started
report        tables, means and the plot
"""

from .harness import Case, geometric_mean, interleaved, measure
