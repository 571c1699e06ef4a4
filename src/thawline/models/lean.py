"""Libraries, loaded without others that they name and that nothing here calls.

torchvision and timm come without PyTorch's compiler, which takes longer to load than torch itself.
One of torchvision's operators for detection takes a function out of the compiler, and so loads it; no
classifier has that operator. timm tells the compiler to leave some functions of a few networks alone.
"""

import functools
import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import torch


@contextmanager
def later(module: str) -> Iterator[None]:
    """While others are imported that take functions out of `module`, give them such as load it when they are
    called. Nothing of this is left afterwards."""
    if module in sys.modules:
        yield
        return
    sys.modules[module] = _Later(module)
    try:
        yield
    finally:
        del sys.modules[module]


class _Later(ModuleType):
    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *given, **named: getattr(importlib.import_module(self.__name__), name)(*given, **named)


with later("torch._dynamo.utils"):
    import torchvision
    from torchvision import models as torchvision_models

__all__ = ["later", "load_timm", "torchvision", "torchvision_models"]


def load_timm() -> ModuleType:
    """Return timm. It takes a second to load, and torchvision's networks need none of it."""
    if "timm" in sys.modules:
        return sys.modules["timm"]
    disable = torch.compiler.disable

    def disable_later(function: Any = None, *more: Any, **settings: Any) -> Any:
        if function is None or more or settings:
            return disable(function, *more, **settings)

        @functools.wraps(function)
        def called(*given: Any, **named: Any) -> Any:
            return disable(function)(*given, **named)

        return called

    torch.compiler.disable = disable_later  # type: ignore[assignment]
    try:
        import timm
    finally:
        torch.compiler.disable = disable
    return timm
