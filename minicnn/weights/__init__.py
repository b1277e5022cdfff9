"""Weight files: reading those of PyTorch, safetensors and NumPy without PyTorch, writing safetensors and NumPy's.

A reader's path: `loading.py` tells the format by its first bytes. `zip_torch.py`, `legacy.py` and `tar_container.py`
are the three containers of PyTorch around one pickle, which `unpickle.py` interprets on its `machine.py` with the names
that `names.py` allows. `tensors.py` checks what a tensor claims against its storage; `tree.py` and `reader.py` then
read it, never more than the file warrants.
"""

from .errors import UnsafeFileError
from .loading import load
from .saving import save

__all__ = ["UnsafeFileError", "load", "save"]
