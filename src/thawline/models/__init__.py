"""Architectures, cuts and units, freezing, head replacement, checkpoints.

Names are imported from their modules when first asked for, so that importing this package is cheap.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from thawline.models.checkpoint import ModelCard, load_model, save_model
    from thawline.models.cuts import Unit, head_name, logits_of, units
    from thawline.models.depth import frozen_units, resolve_depth
    from thawline.models.freezing import freeze, hold, state_hashes, thaw
    from thawline.models.selection import Selection, select
    from thawline.models.splitting import between, check_split, split
    from thawline.models.zoo import build, weights_transform

_HOMES = {
    "checkpoint": ("ModelCard", "load_model", "save_model"),
    "cuts": ("Unit", "head_name", "logits_of", "units"),
    "depth": ("frozen_units", "resolve_depth"),
    "freezing": ("freeze", "hold", "state_hashes", "thaw"),
    "selection": ("Selection", "select"),
    "splitting": ("between", "check_split", "split"),
    "zoo": ("build", "weights_transform"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "ModelCard",
    "Selection",
    "Unit",
    "between",
    "build",
    "check_split",
    "freeze",
    "frozen_units",
    "head_name",
    "hold",
    "load_model",
    "logits_of",
    "resolve_depth",
    "save_model",
    "select",
    "split",
    "state_hashes",
    "thaw",
    "units",
    "weights_transform",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME_OF[name]}"), name)
