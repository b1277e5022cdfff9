"""Looking inside a network: gradients checked, layers counted, a forward and backward traced."""

from .cam import gradcam
from .catalogue import gradcheck_all, operations
from .gradients import gradcheck
from .layers import Layer, Summary, summary
from .report import Report, render
from .tracing import Trace, trace
