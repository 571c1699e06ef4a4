"""Trainings that are over before their trials begin: those that could be done at once with an earlier one."""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from thawline.config.sections import Finetune, Trainer
from thawline.data.store import Store
from thawline.models.checkpoint import ModelCard
from thawline.models.freezing import tensors_of
from thawline.training.at_once import AtOnce, Member, train_at_once
from thawline.training.finetune import initial_network
from thawline.training.memory import free_memory, out_of_memory
from thawline.training.once import Training
from thawline.training.prefix.cache import PrefixCache

KEPT = 8
"""Stacks remembered at most: workers that share a study never ask for all of any."""

log = logging.getLogger(__name__)

Planned = tuple[Finetune, int]
"""A recipe and the seed of its training."""


@dataclass
class Done:
    """Trainings that were done at once, each of which took `seconds` of the time of all; `left` are not asked
    for yet."""

    at_once: AtOnce
    card: ModelCard
    seconds: float
    left: set[int] = field(default_factory=set)


class Ahead:
    """Trains what is planned together, when the first of it is asked for, and remembers it until all was.

    A killed process forgets it, and trains the same stack again.
    """

    def __init__(self, initial: Path, trainer: Trainer, cache: PrefixCache | None, *, mirror: bool) -> None:
        self.initial, self.trainer, self.cache, self.mirror = initial, trainer, cache, mirror
        self._done: dict[str, Done] = {}
        self._refused: set[str] = set()

    def trained(self, wanted: Planned, together: Sequence[Planned], store: Store) -> tuple[Done, int] | None:
        """The finished training of what is `wanted`, which is one of those planned `together`, and its place
        among these; None where it has to be trained alone."""
        places = [place for place, each in enumerate(together) if each == wanted]
        name = repr((store.fingerprint, *together))
        if not places or name in self._refused:
            return None
        done = self._done.pop(name, None)
        if done is None or not done.left.intersection(places):
            done = self._trained(together, store)
        if done is None:
            self._refused.add(name)
            return None
        place = min(done.left.intersection(places))
        done.left.discard(place)
        if done.left:
            self._done[name] = done
        for oldest in list(self._done)[:-KEPT]:
            del self._done[oldest]
        return done, place

    def _trained(self, together: Sequence[Planned], store: Store) -> Done | None:
        started = time.monotonic()
        try:
            found, card = self._at_once(together, store)
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
            found = "out of memory"
        if isinstance(found, str):
            free_memory()
            log.info("%d trainings are done one after the other: %s", len(together), found)
            return None
        seconds = (time.monotonic() - started) / len(together)
        log.info("%d trainings were done at once, in %.1f s for each", len(together), seconds)
        return Done(found, card, seconds, set(range(len(together))))

    def _at_once(self, together: Sequence[Planned], store: Store) -> tuple[AtOnce | str, ModelCard]:
        (recipe, seed), starts = together[0], {}
        network, card = initial_network(recipe, self.initial, seed)
        for _, each in together:
            if each not in starts:
                made = network if each == seed else initial_network(recipe, self.initial, each)[0]
                starts[each] = {name: tensor.clone() for name, tensor in tensors_of(made).items()}
        training = Training(
            network, recipe, store, self.trainer, seed=seed, mirror=self.mirror, cache=self.cache
        )
        members = [Member(recipe, each, starts[each]) for recipe, each in together]
        return train_at_once(training, members), card
