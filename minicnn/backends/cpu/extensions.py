"""Numba's extension modules, which are C and need nothing of the package around them."""

import sys
from importlib.machinery import EXTENSION_SUFFIXES, ExtensionFileLoader
from importlib.util import module_from_spec, spec_from_loader

from .places import numba_folder


def extension(name: str):
    """The module "numba.….name" without importing the package (0.3 s); Numba, imported later, finds it there.

    `ImportError` where it is not installed.
    """
    if name in sys.modules:
        return sys.modules[name]
    path = numba_folder().joinpath(*name.split(".")[1:])
    for suffix in EXTENSION_SUFFIXES:
        file = path.with_name(path.name + suffix)
        if file.is_file():
            spec = spec_from_loader(name, ExtensionFileLoader(name, str(file)))
            module = module_from_spec(spec)
            spec.loader.exec_module(module)
            return sys.modules.setdefault(name, module)
    raise ImportError(f"{path}: no such extension module")
