"""Phases of one fine-tuning: which units are frozen from which epoch on, and at which rates others learn."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from itertools import groupby

from torch import nn

from thawline.config.recipe.meaning import Situation, likelihood_epochs, rewarded, solved
from thawline.config.recipe.rewards import Reward
from thawline.config.sections import AugmentationName, ClassWeights, Finetune, Mix, Phases
from thawline.data.augment import FIXED
from thawline.models.cuts import units
from thawline.models.depth import frozen_units
from thawline.models.linear_head import linear_head
from thawline.training.optimization import Span


@dataclass(frozen=True)
class Phase:
    """Consecutive epochs with the same frozen units and the same rates, trained by one optimizer; or, where
    it is `solved`, a linear head that is computed at once.

    `first` is the phase's first epoch (from 0, counted over all phases), `frozen` are the indices of the
    frozen units. `span` is what the schedule runs over: the phase, or the whole training. A solved phase
    counts as one epoch where it is the only one and as none before others, for which the head is then
    `head_scale` times as large. A `rewarded` one, the last of all, is for the recipe's reward in place of the
    likelihood.
    """

    name: str
    first: int
    epochs: int
    frozen: frozenset[int]
    head_lr: float
    body_lr: float | None
    span: Span
    solved: bool = False
    head_scale: float = 1.0
    rewarded: bool = False

    def applied(self, recipe: Finetune) -> Finetune:
        """Return `recipe` as this phase alone: its epochs, its rates, and no random changes of pictures for a
        head that is solved before anything else learns. Class weights are the likelihood's."""
        recipe = replace(recipe, reward=Reward.none)
        if self.rewarded:
            recipe = replace(recipe, class_weights=ClassWeights.none, early_stopping=0)
        if self.solved and not self.epochs:
            recipe = replace(recipe, phases=Phases.one, views=0, mix=Mix.none)
            fixed = recipe.augmentation in FIXED
            return recipe if fixed else replace(recipe, augmentation=AugmentationName.none)
        return replace(
            recipe, phases=Phases.one, epochs=self.epochs, head_lr=self.head_lr, body_lr=self.body_lr
        )


def phases_of(recipe: Finetune, network: nn.Module) -> tuple[Phase, ...]:
    """Return the phases in which `recipe` trains `network`, an initial target model: see `phases`."""
    found = units(network)
    frozen = frozen_units(recipe.depth, recipe.units, found)
    return phases(recipe, len(found), frozen, linear_head(network) is not None)


def phases(recipe: Finetune, units: int, frozen: Collection[int], linear: bool = True) -> tuple[Phase, ...]:
    """Return the phases of `recipe` for a network of `units` units of which `frozen` never learn; `linear`
    says whether its head can be solved.

    A reward phase follows where there is a reward: `reward_share` of the epochs, with what learns and the
    rates of the phase before it and a schedule of its own.

    one: a single phase. probe_first (LP-FT, Kumar et al. 2022): first the head alone, which is solved, then
    everything that may learn does so at body_lr, the head included; a head that is not linear is trained for
    `phase_share` of the epochs instead. Each phase has a schedule of its own. gradual (ULMFiT, Howard & Ruder
    2018): first the head alone, then one more learning unit at a time from the head down, at equal distances,
    so that after `phase_share` of the epochs all of them learn; with more units than epochs several join at
    once. One schedule runs over all phases. Where no unit may learn there is one phase, whatever the recipe
    says.
    """
    if rewarded(vars(recipe)):
        return _and_rewarded(recipe, units, frozen, linear)
    learning = sorted(set(range(units)) - set(frozen))
    head_lr = recipe.head_lr
    assert head_lr is not None  # Finetune resolves it
    whole, fixed = Span(0, recipe.epochs), frozenset(frozen)
    is_solved = solved(vars(recipe), Situation(units, units, linear))
    if recipe.phases is Phases.one or not learning:
        at_once = not learning and is_solved
        rows = 1 if at_once else recipe.epochs
        return (Phase("one", 0, rows, fixed, head_lr, recipe.body_lr, whole, at_once),)
    if recipe.phases is Phases.probe_first:
        return _probe_first(recipe, units, fixed, is_solved, head_lr)
    before = _epochs_before(recipe)
    counts = [
        epoch * len(learning) // before if epoch < before else len(learning) for epoch in range(recipe.epochs)
    ]
    found = []
    for count, group in groupby(range(recipe.epochs), key=lambda epoch: counts[epoch]):
        epochs = list(group)
        asleep = frozenset(learning[: len(learning) - count])
        name = f"{count} of {len(learning)} units"
        found.append(Phase(name, epochs[0], len(epochs), fixed | asleep, head_lr, recipe.body_lr, whole))
    return tuple(found)


def _probe_first(
    recipe: Finetune, units: int, frozen: frozenset[int], is_solved: bool, head_lr: float
) -> tuple[Phase, ...]:
    before = 0 if is_solved else _epochs_before(recipe)
    body_lr, after = recipe.body_lr, recipe.epochs - before
    assert body_lr is not None  # checked by Finetune: units learn
    everything, span = frozenset(range(units)), Span(0, before)
    return (
        Phase("probe", 0, before, everything, head_lr, body_lr, span, is_solved, recipe.head_scale),
        Phase("everything", before, after, frozen, body_lr, body_lr, Span(before, after)),
    )


def _epochs_before(recipe: Finetune) -> int:
    """Return the epochs before everything that may learn does: at least one before and one after (there are
    two or more: `Finetune` checks it)."""
    return min(max(1, round(recipe.phase_share * recipe.epochs)), recipe.epochs - 1)


def _and_rewarded(recipe: Finetune, units: int, frozen: Collection[int], linear: bool) -> tuple[Phase, ...]:
    most = recipe.epochs - likelihood_epochs(vars(recipe))
    epochs = min(max(1, round(recipe.reward_share * recipe.epochs)), most)
    first = recipe.epochs - epochs
    before = phases(replace(recipe, reward=Reward.none, epochs=first), units, frozen, linear)
    if before[-1].solved:
        return before
    span = Span(first, epochs)
    return (*before, replace(before[-1], name="reward", first=first, epochs=epochs, span=span, rewarded=True))
