"""Lookup of a method's module by the method's name."""

import importlib
from collections.abc import Sequence
from typing import Any, Protocol, cast

from torch import nn

from thawline.config.recipe.methods import Method
from thawline.models.cuts import Division, Unit


class Implementation(Protocol):
    """A module of this package that is called like the method it is for."""

    def learning(self, network: nn.Module) -> set[str]:
        """Return the names of the parameters of `network` that learn under this method, wherever they are."""

    def add(self, whole: Division, units: Sequence[Unit], **settings: Any) -> None:
        """Add to `units` what the method needs, told its own fields of the recipe. Only of methods whose row
        says that they add something."""


def implementation(method: Method) -> Implementation:
    """Return the module of `method`. It is imported only here, so that a training depends on the code of the
    one method it uses."""
    return cast(Implementation, importlib.import_module(method.module))
