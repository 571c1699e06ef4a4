"""Words for recipes in sentences: phrases to follow the word “with”, in the words of docs/methods.md.

A recipe is told as it was used: what means nothing in it (LoRA's rank where nothing is unfrozen) is not
spoken of.
"""

from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

from thawline.config.choices import BatchNorm, LossName, Phases, Start
from thawline.config.recipe.fields import Finetune
from thawline.config.recipe.meaning import (
    Situation,
    body_learns,
    is_probe,
    matters,
    solved,
    some_frozen,
    thawed,
)
from thawline.config.recipe.methods import Method
from thawline.config.recipe.rewards import Reward
from thawline.wording import listed, rate

_BATCH_NORM = {
    BatchNorm.frozen: "BatchNorm held fixed",
    BatchNorm.statistics: "BatchNorm's scales and shifts held fixed",
    BatchNorm.affine: "BatchNorm's statistics held fixed",
}
_FROZEN_BATCH_NORM = {
    BatchNorm.statistics: "BatchNorm's statistics estimated anew in the frozen units",
    BatchNorm.affine: "BatchNorm's scales and shifts learning in the frozen units too",
    BatchNorm.train: "BatchNorm learning in the frozen units too",
}
_LOSS = {
    LossName.generalised: "generalised cross-entropy (q = {0.loss_q:g})",
    LossName.symmetric: "symmetric cross-entropy ({0.loss_reverse:.0%} reversed)",
}
_OFF = (
    *("units", "phases", "layer_decay", "l2_sp", "ema", "wise_ft", "soup", "early_stopping", "views", "mix"),
    *("decay_all", "label_smoothing", "class_weights", "head_cuts", "reward", "loss"),
)
"""Fields whose default is "off": not worth showing unless they were turned on."""


@dataclass(frozen=True)
class Told:
    """A recipe where it was used: with `depth` frozen units, of which `unit` is the last (None where there is
    none), of all `units` (None where that is not known); a `linear_head` is solved where it learns alone."""

    recipe: Finetune
    depth: int
    unit: str | None
    units: int | None = None
    linear_head: bool = True

    @cached_property
    def at(self) -> Situation:
        """Return where the recipe is used."""
        return Situation.of(vars(self.recipe), self.depth, self.units, self.linear_head)

    @property
    def is_probe(self) -> bool:
        """Tell whether it is the contender `linear_probe` by another name."""
        return is_probe(vars(self.recipe), self.at)

    @property
    def is_solved(self) -> bool:
        """Tell whether it trains nothing by gradient descent: a solved head alone learns."""
        return solved(vars(self.recipe), self.at)


def described(told: Told) -> str:
    """Return the recipe, to follow the word “with”."""
    count = len(named_rates(told.recipe, told.at))
    how = [f"learning {'rates' if count > 1 else 'rate'} {rates(told)}"] if count else []
    return listed([learning(told), *besides(told.recipe, told.at), *how])


def learning(told: Told) -> str:
    """Return what is frozen and what learns in the rest, to follow the word “with”."""
    if told.recipe.start is Start.random:
        return "every weight trained from a random start (nothing copied)"
    if told.is_solved:
        return f"only {head_words(told.recipe, told.at)}, solved (all {told.depth} units frozen)"
    if told.at.all_frozen:
        return f"only the head trained (all {told.depth} units frozen)"
    first, method = probe_first_words(told.recipe, told.at), method_words(told.recipe, told.at)
    then = f"{method} in {_where(told)}" if method else _whole_units(told)
    return f"{first}, then {then}" if first else then


def _whole_units(told: Told) -> str:
    if told.recipe.units is not None:
        return f"only {listed([*_named(told.recipe.units), 'the head'])} learning"
    depth, unit = told.depth, told.unit
    if depth == 0:
        return "full fine-tuning (no unit frozen)"
    return f"{_first(told)} frozen ({'' if depth == 1 else 'up to '}`{unit}`)"


def _where(told: Told) -> str:
    if told.recipe.units is not None:
        return f"{listed(_named(told.recipe.units))} (all other units frozen)"
    if told.depth == 0:
        return f"all {told.units} units" if told.units else "all units"
    return f"the units after `{told.unit}` ({_first(told)} frozen)"


def _first(told: Told) -> str:
    """Return e.g. `the first 3 of 9 units`."""
    depth, units = told.depth, told.units
    if depth == 1:
        return f"the first {f'of {units} units' if units else 'unit'}"
    return f"the first {f'{depth} of {units}' if units else depth} units"


def _named(units: list[str]) -> list[str]:
    return [f"`{name}`" for name in units]


def rates(told: Told) -> str:
    """Return the learning rates that matter; `–` where there are none, because the head is solved."""
    found = named_rates(told.recipe, told.at)
    if len(found) < 2:
        return rate(found[0][0] if found else None)
    return " and ".join(f"{rate(value)} ({whose})" for value, whose in found)


def shown(recipe: Finetune, at: Situation) -> dict[str, Any]:
    """Return the recipe's fields, by name, that decided anything: not what belongs to a method, optimizer or
    phase that was not used, and nothing that is off. The depth is the resolved one."""
    values, plain = vars(recipe), Finetune()
    return {
        name: at.depth if name == "depth" else values[name]
        for name in sorted(each.name for each in fields(recipe))
        if matters(name, values, at) and (name not in _OFF or values[name] != getattr(plain, name))
    }


def method_words(recipe: Finetune, at: Situation) -> str | None:
    """Return what learns in the unfrozen units; None where they learn as they are or there are none."""
    if not thawed(vars(recipe), at):
        return None
    if recipe.method is Method.prompt and not recipe.prompt_deep:
        return "a single set of visual prompts"
    return recipe.method.row.words


def head_cuts(recipe: Finetune, at: Situation) -> int:
    """Return how many cuts the head reads: 1 where it is a network's own."""
    cuts = recipe.head_cuts
    if not isinstance(cuts, list) or not matters("head_cuts", vars(recipe), at):
        return 1
    # where units learn behind the frozen ones, cuts before them are not read
    first = 1 if at.all_frozen else at.depth
    others = {cut for cut in cuts if cut != at.units and (isinstance(cut, str) or cut >= first)}
    return len(others) + 1


def head_words(recipe: Finetune, at: Situation) -> str:
    """Return which head is solved: a linear one on the last cut, or on how many."""
    return _on_cuts("a linear head", recipe, at)


def probe_first_words(recipe: Finetune, at: Situation) -> str | None:
    """Return which linear probe there is before anything else learns; None where there is none."""
    if not (thawed(vars(recipe), at) and recipe.phases is Phases.probe_first):
        return None
    return f"{_on_cuts('a linear probe', recipe, at)} first"


def _on_cuts(what: str, recipe: Finetune, at: Situation) -> str:
    count = head_cuts(recipe, at)
    return f"{what} on {count} cuts" if count > 1 else what


def besides(recipe: Finetune, at: Situation) -> list[str]:
    """Return what else makes the recipe another one than plain fine-tuning."""
    values = vars(recipe)
    found = [
        (thawed(values, at) and recipe.phases is Phases.gradual, "gradual unfreezing from the head down"),
        *_batch_norm(recipe, at),
        (
            recipe.layer_decay < 1 and matters("layer_decay", values, at),
            f"layer-wise decay (each unit's learning rate {recipe.layer_decay:g} times the next one's)",
        ),
        (
            recipe.l2_sp > 0 and matters("l2_sp", values, at),
            "a pull towards the source model's weights (L2-SP)",
        ),
        (recipe.ema > 0 and matters("ema", values, at), "a moving average of the weights"),
        (
            recipe.wise_ft < 1 and matters("wise_ft", values, at),
            f"a body {100 * recipe.wise_ft:g} % of the way from the source's to the fine-tuned one (WiSE-FT)",
        ),
        (
            recipe.soup > 1 and matters("soup", values, at),
            f"a greedy soup of {recipe.soup} trainings per seed",
        ),
        (recipe.reward is not Reward.none and matters("reward", values, at), reward_words(recipe)),
    ]
    losses = [_LOSS[recipe.loss].format(recipe)] if recipe.loss in _LOSS else []
    return [*(words for so, words in found if so), *losses]


def reward_words(recipe: Finetune) -> str:
    """Return what the reward phase is for, with its share of the epochs."""
    what = recipe.reward.value
    if recipe.reward is Reward.f_beta:
        what = f"F{recipe.reward_beta:g} of {recipe.reward_class}"
    elif recipe.reward is Reward.abstention:
        what = f"accuracy where it answers ({100 * (1 - recipe.reward_abstention):g} % of the pictures)"
    return f"a reward phase for {what} in the last {100 * recipe.reward_share:g} % of the epochs"


def _batch_norm(recipe: Finetune, at: Situation) -> list[tuple[bool, str]]:
    values, unfrozen, frozen = vars(recipe), recipe.batch_norm, recipe.frozen_batch_norm
    own = thawed(values, at) and recipe.method.row.source_learns
    return [
        (own and unfrozen in _BATCH_NORM, _BATCH_NORM.get(unfrozen, "")),
        (some_frozen(values, at) and frozen in _FROZEN_BATCH_NORM, _FROZEN_BATCH_NORM.get(frozen, "")),
    ]


def rate_words(recipe: Finetune) -> tuple[str, str]:
    """Return whose learning rates `head_lr` and `body_lr` are, where both matter."""
    if recipe.phases is Phases.probe_first:
        return "head alone", "then everything"
    return "head", "body" if recipe.layer_decay == 1 else "last unit"


def named_rates(recipe: Finetune, at: Situation) -> list[tuple[float | None, str]]:
    """Return the learning rates that matter, each with whose it is: none where the head is solved, one where
    nothing but the head trains or everything starts random."""
    values = vars(recipe)
    head, body = rate_words(recipe) if thawed(values, at) else ("head", "body")
    found = [(recipe.head_lr, head)] if matters("head_lr", values, at) else []
    return found + ([(recipe.body_lr, body)] if body_learns(values, at) else [])
