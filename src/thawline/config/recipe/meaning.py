"""When a field of a recipe means something: the conditions of the search space."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from thawline.config.recipe.fields import ADDED
from thawline.config.searchable import TYPES
from thawline.config.sections import AugmentationName, BatchNorm, Method, Mix, OptimizerName, Phases, Start

Values = Mapping[str, Any]

DECISIVE = (
    "frozen_batch_norm",
    "method",
    "epochs",
    "phases",
    "optimizer",
    "weight_decay",
    "mix",
    "augmentation",
)
ORDER = tuple(dict.fromkeys((*DECISIVE, "head_lr", "body_lr", *TYPES)))
"""Fields of a recipe, those first that decide whether others mean something."""

OWN_WEIGHTS = (*ADDED, Method.scale_shift)
"""Methods under which the source model's weights stay as they are."""


@dataclass(frozen=True)
class Situation:
    """Where a trial stands: `depth` of `units` units frozen; `probe`: all of them in every trial."""

    depth: int
    units: int
    probe: bool = False

    def thawed(self, values: Values) -> bool:
        """Whether a unit learns that comes from the source model."""
        return self.depth < self.units and values["start"] is Start.source

    def learns(self, values: Values) -> bool:
        """Whether anything of the body needs a rate of its own (see `Finetune.body_learns`)."""
        frozen_learn = values["frozen_batch_norm"] in (BatchNorm.affine, BatchNorm.train)
        from_source = values["start"] is Start.source
        return from_source and values["body_lr"] is not None and (self.thawed(values) or frozen_learn)

    def freezes(self, values: Values) -> bool:
        """Whether some unit is frozen, but not all of them in every trial."""
        return not self.probe and (self.depth > 0 or values["units"] is not None)


CONDITIONS: dict[str, Callable[[Values, Situation], bool]] = {
    "body_lr": lambda values, at: at.learns(values),
    "frozen_batch_norm": lambda values, at: at.freezes(values),
    "batch_norm": lambda values, at: at.thawed(values),
    "method": lambda values, at: at.thawed(values),
    "phases": lambda values, at: at.thawed(values) and values["epochs"] >= 2,
    "phase_share": lambda values, at: at.thawed(values) and values["phases"] is not Phases.one,
    "layer_decay": lambda values, at: at.thawed(values) and at.units - at.depth >= 2,
    "l2_sp": lambda values, at: at.learns(values) and values["method"] not in OWN_WEIGHTS,
    "wise_ft": lambda values, at: at.learns(values) and values["method"] not in ADDED,
    "lora_rank": lambda values, at: at.thawed(values) and values["method"] is Method.lora,
    "lora_scale": lambda values, at: at.thawed(values) and values["method"] is Method.lora,
    "adapter_width": lambda values, at: at.thawed(values) and values["method"] is Method.adapter,
    "prompt_tokens": lambda values, at: at.thawed(values) and values["method"] is Method.prompt,
    "prompt_deep": lambda values, at: at.thawed(values) and values["method"] is Method.prompt,
    "momentum": lambda values, _: values["optimizer"] is OptimizerName.sgd,
    "decay_all": lambda values, _: values["weight_decay"] > 0,
    "views": lambda values, _: values["augmentation"] is not AugmentationName.none,
    "mix_alpha": lambda values, _: values["mix"] is not Mix.none,
}
"""Fields that mean something only sometimes; all others always do."""


def exists(name: str, values: Values, at: Situation) -> bool:
    """Whether the field `name` means anything in a recipe with these `values` so far."""
    return name not in CONDITIONS or CONDITIONS[name](values, at)


def reconciled(values: dict[str, Any]) -> dict[str, Any]:
    """`values` with configured fields that a chosen method or number of epochs rules out at their neutral
    value, e.g. `wise_ft` 1 where the method is lora."""
    neutral: dict[str, Any] = {}
    if values["method"] in OWN_WEIGHTS:
        neutral |= {"l2_sp": 0.0}
    if values["method"] in ADDED:
        neutral |= {"wise_ft": 1.0, "soup": 1}
    if values["epochs"] < 2:
        neutral |= {"phases": Phases.one}
    return values | neutral
