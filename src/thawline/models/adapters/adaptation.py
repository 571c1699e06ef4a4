"""Record of what was added to a network and where: all that is needed to add it again."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from thawline.config.sections import Finetune, Method


@dataclass(frozen=True)
class Adaptation:
    """One of the methods that add something, for all units but the `frozen` ones (sorted indices); `settings`
    are the recipe's fields that are the method's own, by name."""

    method: Method
    frozen: tuple[int, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return it JSON-like; `from_dict` undoes it."""
        return {"method": self.method.name, "frozen": list(self.frozen), **self.settings}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> "Adaptation":
        """Raise `ValueError`, `TypeError` or `KeyError` for anything `to_dict` would not have written."""
        method = Method[value["method"]]
        names = {"method", "frozen", *method.row.fields}
        if value.keys() != names:
            raise ValueError(f"fields differ: {', '.join(sorted(names ^ value.keys()))}")
        return cls(method, tuple(value["frozen"]), {name: value[name] for name in method.row.fields})


def adaptation_of(recipe: Finetune, frozen: Collection[int]) -> Adaptation | None:
    """Return what `recipe` adds to a network whose units `frozen` (indices) get nothing; None for the methods
    that train what is there already."""
    if not recipe.method.row.adds:
        return None
    settings = {name: getattr(recipe, name) for name in recipe.method.row.fields}
    return Adaptation(recipe.method, tuple(sorted(frozen)), settings)
