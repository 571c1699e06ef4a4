"""What was added to a network and where: all that is needed to add it again."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from thawline.config.sections import Finetune, Method

_SETTINGS = {
    Method.scale_shift: (),
    Method.lora: ("lora_rank", "lora_scale"),
    Method.adapter: ("adapter_width",),
    Method.prompt: ("prompt_tokens", "prompt_deep"),
}
"""The fields of the recipe each method reads; methods that are not listed add nothing."""


@dataclass(frozen=True)
class Adaptation:
    """One of the methods `scale_shift`, `lora`, `adapter`, `prompt`, for all units but the `frozen` ones
    (sorted indices). The other fields mean what the recipe's of the same names mean, and keep their
    defaults where `method` does not read them.
    """

    method: Method
    frozen: tuple[int, ...]
    lora_rank: int = 4
    lora_scale: float = 2.0
    adapter_width: int = 16
    prompt_tokens: int = 8
    prompt_deep: bool = True

    def to_dict(self) -> dict[str, Any]:
        """JSON-like, without what `method` does not read; `from_dict` undoes it."""
        settings = {name: getattr(self, name) for name in _SETTINGS[self.method]}
        return {"method": self.method.name, "frozen": list(self.frozen), **settings}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> "Adaptation":
        """Raises `ValueError`, `TypeError` or `KeyError` for anything `to_dict` would not have written."""
        method = Method[value["method"]]
        names = {"method", "frozen", *_SETTINGS[method]}
        if value.keys() != names:
            raise ValueError(f"fields differ: {', '.join(sorted(names ^ value.keys()))}")
        return cls(**{**value, "method": method, "frozen": tuple(value["frozen"])})


def adaptation_of(recipe: Finetune, frozen: Collection[int]) -> Adaptation | None:
    """What `recipe` adds to a network whose units `frozen` (indices) get nothing; None for the methods
    that train what is there already."""
    if recipe.method not in _SETTINGS:
        return None
    settings = {name: getattr(recipe, name) for name in _SETTINGS[recipe.method]}
    return Adaptation(recipe.method, tuple(sorted(frozen)), **settings)
