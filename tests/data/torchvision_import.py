"""Import torchvision beside a CPU build of torch, or skip the test."""

import sys

import pytest


def import_torchvision():
    """torchvision's compiled operators may be missing; declared first, its Python part imports without them."""
    torch = pytest.importorskip("torch", reason="torch is the independent truth")
    try:
        import torchvision
    except RuntimeError:
        library = torch.library.Library("torchvision", "DEF")
        library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        import_torchvision.library = library  # alive as long as the operators are needed
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        import torchvision
    except ImportError:
        pytest.skip("torchvision is not installed: it is the independent truth here")
    return torchvision
