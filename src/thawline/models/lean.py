"""torchvision, loaded without PyTorch's compiler.

One of its operators for detection takes a function out of the compiler, and so loads it, which takes longer
than torch itself. No classifier has that operator.
"""

import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import torch  # noqa: F401 - torchvision is an extension of it

_COMPILER = "torch._dynamo.utils"


@contextmanager
def _compiler_later() -> Iterator[None]:
    """While modules are imported that take functions out of the compiler, give them such as load it when they
    are called. Nothing of this is left afterwards."""
    if _COMPILER in sys.modules:
        yield
        return
    sys.modules[_COMPILER] = _Later(_COMPILER)
    try:
        yield
    finally:
        del sys.modules[_COMPILER]


class _Later(ModuleType):
    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *given, **named: getattr(importlib.import_module(_COMPILER), name)(*given, **named)


with _compiler_later():
    import torchvision
    from torchvision import models as torchvision_models

__all__ = ["torchvision", "torchvision_models"]
