"""Phases of one fine-tuning: which units are frozen from which epoch on, and at which rates others learn."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from itertools import groupby

from thawline.config.sections import Finetune, Phases
from thawline.training.optimization import Span


@dataclass(frozen=True)
class Phase:
    """Consecutive epochs with the same frozen units and the same rates, trained by one optimizer.

    `first` is the phase's first epoch (from 0, counted over all phases), `frozen` are the indices of the
    frozen units. `span` is what the schedule runs over: the phase, or the whole training.
    """

    name: str
    first: int
    epochs: int
    frozen: frozenset[int]
    head_lr: float
    body_lr: float | None
    span: Span

    def applied(self, recipe: Finetune) -> Finetune:
        """Return `recipe` as this phase alone: its epochs and its rates."""
        return replace(
            recipe, phases=Phases.one, epochs=self.epochs, head_lr=self.head_lr, body_lr=self.body_lr
        )


def phases(recipe: Finetune, units: int, frozen: Collection[int]) -> tuple[Phase, ...]:
    """Return the phases of `recipe` for a network of `units` units of which `frozen` never learn.

    one: a single phase. probe_first (LP-FT, Kumar et al. 2022): for `phase_share` of the epochs all
    units are frozen, then everything that may learn does so at body_lr, the head included; each phase has
    a schedule of its own. gradual (ULMFiT, Howard & Ruder 2018): first the head alone, then one more
    learning unit at a time from the head down, at equal distances, so that after `phase_share` of the
    epochs all of them learn; with more units than epochs several join at once. One schedule runs over
    all phases. Where no unit may learn there is one phase, whatever the recipe says.
    """
    learning = sorted(set(range(units)) - set(frozen))
    head_lr = _head_rate(recipe)
    whole, fixed = Span(0, recipe.epochs), frozenset(frozen)
    if recipe.phases is Phases.one or not learning:
        return (Phase("one", 0, recipe.epochs, fixed, head_lr, recipe.body_lr, whole),)
    before = _epochs_before(recipe)
    if recipe.phases is Phases.probe_first:
        return _probe_first(recipe, units, fixed, before)
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


def _probe_first(recipe: Finetune, units: int, frozen: frozenset[int], before: int) -> tuple[Phase, ...]:
    body_lr, after = recipe.body_lr, recipe.epochs - before
    assert body_lr is not None  # checked by Finetune: units learn
    return (
        Phase("probe", 0, before, frozenset(range(units)), _head_rate(recipe), body_lr, Span(0, before)),
        Phase("everything", before, after, frozen, body_lr, body_lr, Span(before, after)),
    )


def _head_rate(recipe: Finetune) -> float:
    assert recipe.head_lr is not None  # Finetune resolves it
    return recipe.head_lr


def _epochs_before(recipe: Finetune) -> int:
    """Return the epochs before everything that may learn does: at least one before and one after (there are
    two or more: `Finetune` checks it)."""
    return min(max(1, round(recipe.phase_share * recipe.epochs)), recipe.epochs - 1)
