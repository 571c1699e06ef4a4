"""Meaning of a recipe's fields: when each means something, and which values others rule out.

Configuration, search, report and tracking ask here and nowhere else. `values` are those of a recipe's fields
by their names, so that a recipe can be asked about while it is still being made.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from thawline.config.choices import (
    AugmentationName,
    BatchNorm,
    Keep,
    LossName,
    Mix,
    OptimizerName,
    Phases,
    Start,
)
from thawline.config.recipe.methods import Method, MethodFields
from thawline.config.recipe.rewards import FIELDS, Reward, RewardFields

Values = Mapping[str, Any]

AFFINE = (BatchNorm.affine, BatchNorm.train)
"""Policies under which scale and shift learn."""
MOVING = (BatchNorm.statistics, BatchNorm.train)
"""Policies under which a layer normalises by the batch and goes on estimating its statistics."""

DECISIVE = (
    "frozen_batch_norm",
    "method",
    "epochs",
    "phases",
    "optimizer",
    "weight_decay",
    "mix",
    "augmentation",
    "loss",
)
"""Fields that decide whether others mean something. Who chooses values chooses these first, in this order."""

NEUTRAL: dict[str, Any] = {
    "depth": 0,
    "units": None,
    "head_cuts": None,
    "method": Method.full,
    "frozen_batch_norm": BatchNorm.frozen,
    "batch_norm": BatchNorm.train,
    "phases": Phases.one,
    "layer_decay": 1.0,
    "l2_sp": 0.0,
    "wise_ft": 1.0,
}
"""Fields that mean something only for weights that come from a source model, with the value that changes
nothing."""

TRAINED = (
    *("epochs", "batch_size", "optimizer", "momentum", "schedule", "warmup", "weight_decay", "decay_all"),
    *("head_lr", "body_lr", "early_stopping", "keep", "ema", "soup", "mix", "mix_alpha"),
    *(each.name for each in fields(RewardFields)),
)
"""Fields about training step by step, which a solved head has none of."""


@dataclass(frozen=True)
class Situation:
    """A place where a recipe is used: `depth` leading units are frozen, of `units` (None where that is not
    known and not all of them are); `linear_head`: the network's head is linear, so that it can be solved."""

    depth: int
    units: int | None
    linear_head: bool = True

    @classmethod
    def of(cls, values: Values, depth: int, units: int | None, linear_head: bool) -> "Situation":
        """Return where a recipe is used whose own `depth` comes to a count of `depth` units."""
        return cls(depth, depth if values["depth"] == "all" else units, linear_head)

    @property
    def all_frozen(self) -> bool:
        """Tell whether no unit of the body learns."""
        return self.depth == self.units


def thawed(values: Values, at: Situation) -> bool:
    """Tell whether a unit learns that comes from the source model."""
    return values["start"] is Start.source and not at.all_frozen


def some_frozen(values: Values, at: Situation) -> bool:
    """Tell whether some unit, or all of them, is frozen."""
    return at.depth > 0 or values["units"] is not None


def needs_body_rate(values: Values, all_frozen: bool) -> bool:
    """Tell whether anything that comes from the source model is to learn in the body: units that are not
    frozen, or BatchNorm's scale and shift in those that are."""
    frozen_learn = values["frozen_batch_norm"] in AFFINE
    return values["start"] is Start.source and (not all_frozen or frozen_learn)


def body_learns(values: Values, at: Situation) -> bool:
    """Tell whether anything that comes from the source model learns at a rate of its own in the body."""
    return values["body_lr"] is not None and needs_body_rate(values, at.all_frozen)


def is_probe(values: Values, at: Situation) -> bool:
    """Tell whether nothing but the head changes, on the source model's features (a linear probe)."""
    still = values["frozen_batch_norm"] is BatchNorm.frozen
    return at.all_frozen and still and values["start"] is Start.source


def solved(values: Values, at: Situation) -> bool:
    """Tell whether nothing but a linear head learns, on features that stay as they are: its best weights are
    computed, not trained."""
    return at.linear_head and is_probe(values, at) and values["frozen_batch_norm"] not in MOVING


def _probes_first(values: Values, at: Situation) -> bool:
    return thawed(values, at) and values["phases"] is Phases.probe_first


def starts_solved(values: Values, at: Situation) -> bool:
    """Tell whether the head is solved before everything else learns: LP-FT whose first phase, in which all
    units are frozen, takes neither epochs nor a rate."""
    return _probes_first(values, at) and solved(values, Situation(0, 0, at.linear_head))


def head_is_solved(values: Values, at: Situation) -> bool:
    """Tell whether a head is solved at all: alone, or before everything else learns."""
    return solved(values, at) or starts_solved(values, at)


def _has_phase_share(values: Values, at: Situation) -> bool:
    phased = thawed(values, at) and values["phases"] is not Phases.one
    return phased and not starts_solved(values, at)


def _has_frozen_batch_norm(values: Values, at: Situation) -> bool:
    # in the first of several phases all units are frozen
    return some_frozen(values, at) or (thawed(values, at) and values["phases"] is not Phases.one)


def _has_layer_decay(values: Values, at: Situation) -> bool:
    first = 0 if values["frozen_batch_norm"] in AFFINE else at.depth
    return body_learns(values, at) and (at.units is None or at.units - first >= 2)


def rewarded(values: Values) -> bool:
    """Tell whether a reward phase follows likelihood training, where anything is trained at all."""
    return values["reward"] is not Reward.none


def _of_reward(name: str) -> Callable[[Values, Situation], bool]:
    owners = [reward for reward, names in FIELDS.items() if name in names]
    return lambda values, _: values["reward"] in owners if owners else rewarded(values)


def likelihood_epochs(values: Values) -> int:
    """Return the least epochs before a reward phase: phases need two."""
    return 1 if values["phases"] is Phases.one else 2


def _of_method(name: str) -> Callable[[Values, Situation], bool]:
    return lambda values, at: thawed(values, at) and name in values["method"].row.fields


CONDITIONS: dict[str, Callable[[Values, Situation], bool]] = {
    "depth": lambda values, _: values["units"] is None,
    "body_lr": body_learns,
    "head_lr": lambda values, at: not starts_solved(values, at),
    "frozen_batch_norm": _has_frozen_batch_norm,
    "batch_norm": thawed,
    "method": thawed,
    "phases": lambda values, at: thawed(values, at) and values["epochs"] >= 2,
    "phase_share": _has_phase_share,
    "layer_decay": _has_layer_decay,
    "l2_sp": lambda values, at: body_learns(values, at) and values["method"].row.source_learns,
    "wise_ft": lambda values, at: (
        body_learns(values, at) and values["method"].row.averages and not rewarded(values)
    ),
    "momentum": lambda values, _: values["optimizer"] is OptimizerName.sgd,
    "decay_all": lambda values, _: values["weight_decay"] > 0,
    # a solved head sees stored pictures: several variants of each, or plain ones
    "augmentation": lambda values, at: (
        values["views"] > 0 or values["augmentation"] is AugmentationName.mirror or not solved(values, at)
    ),
    "views": lambda values, _: values["augmentation"] not in (AugmentationName.none, AugmentationName.mirror),
    "mix_alpha": lambda values, _: values["mix"] is not Mix.none,
    "loss_q": lambda values, _: values["loss"] is LossName.generalised,
    "loss_reverse": lambda values, _: values["loss"] is LossName.symmetric,
    "head_cuts": head_is_solved,
    "head_penalty": head_is_solved,
    "head_scale": starts_solved,
    # a reward leaves these no choice
    **{name: lambda values, _: not rewarded(values) for name in ("mix", "keep", "soup")},
    **{each.name: _of_reward(each.name) for each in fields(RewardFields) if each.name != "reward"},
    **{each.name: _of_method(each.name) for each in fields(MethodFields)},
}
"""Fields that mean something only sometimes; all others always do, but for those of `TRAINED`."""


def matters(name: str, values: Values, at: Situation) -> bool:
    """Tell whether the field `name` means anything in a recipe with these `values`, used there."""
    if name in TRAINED and solved(values, at):
        return False
    return name not in CONDITIONS or CONDITIONS[name](values, at)


def ruled_out(values: Values) -> dict[str, tuple[Any, str]]:
    """Return fields that other fields leave no choice: the only value each may have, and why."""
    found: dict[str, tuple[Any, str]] = {}
    if values["start"] is Start.random:
        reason = "because start is random: no source model, and freezing random weights trains nothing useful"
        found |= {name: (value, reason) for name, value in NEUTRAL.items()}
    method = values["method"]
    if not method.row.source_learns:
        kept = f"because method is {method.name} and the source model's weights stay anyway"
        found["l2_sp"] = (0.0, kept)
    if not method.row.averages:
        reason = f"because averaging weights does not average what {method.name} modules do"
        found |= {"wise_ft": (1.0, reason), "soup": (1, reason)}
    if values["epochs"] < 2:
        found["phases"] = (Phases.one, f"because epochs is {values['epochs']} and phases need 2 or more")
    return found | (_ruled_out_by_reward(values) if rewarded(values) else {})


def _ruled_out_by_reward(values: Values) -> dict[str, tuple[Any, str]]:
    because, least = f"because reward is {values['reward'].name}", likelihood_epochs(values) + 1
    if values["epochs"] < least:
        phased = "" if least == 2 else f" and phases is {values['phases'].name}"
        reason = f"because epochs is {values['epochs']}{phased}, and a reward phase needs {least} or more"
        return {"reward": (Reward.none, reason)}
    return {
        "mix": (Mix.none, f"{because}, and a label drawn for mixed pictures is right for none of them"),
        "keep": (Keep.last, f"{because}, and the best epoch is that of the best accuracy"),
        "soup": (1, f"{because}, and a soup is chosen by accuracy"),
        "wise_ft": (1.0, f"{because}, and reward_kl is what holds the model near its start"),
    }


def reconciled(values: Values, at: Situation) -> dict[str, Any]:
    """Return `values` with those that others, or a head that is solved, rule out at their neutral value, e.g.
    `wise_ft` 1 where the method is lora."""
    found = dict(values) | {name: only for name, (only, _) in ruled_out(values).items()}
    if solved(found, at):
        found |= {"mix": Mix.none, "soup": 1, "ema": 0.0, "reward": Reward.none}
        if found["views"] == 0 and found["augmentation"] is not AugmentationName.mirror:
            found["augmentation"] = AugmentationName.none
    return found
