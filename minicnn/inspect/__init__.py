"""Looking inside a network: gradients checked, layers counted, a forward and backward traced."""

from .cam import gradcam
from .catalogue import gradcheck_all, operations
from .covering import occlusion
from .explaining import Explanation, explain
from .filters import filter_pictures
from .gradients import gradcheck
from .layers import Layer, Summary, summary
from .report import Report, render
from .sensitivity import saliency
from .statistics import Statistics
from .tracing import Step, Trace, trace
