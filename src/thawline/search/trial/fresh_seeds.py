"""Fresh trainings of the best recipe at every depth: the second study of a depth curve."""

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.trial import FrozenTrial

from thawline import tracking
from thawline.artifacts import Artifacts, depth_name, fingerprint, seed_weights
from thawline.config.choices import PrunerName, SamplerName
from thawline.config.errors import UserError
from thawline.config.sections import Config, Finetune
from thawline.data.recorded import learned_from
from thawline.identity import code_identity
from thawline.search.space.parameters import CHANGES
from thawline.search.study.study import RUN, best, complete, open_study
from thawline.search.task import Slot
from thawline.search.trial.outcomes import load_outcomes, save_outcome
from thawline.search.trial.trials import Trials
from thawline.statistics.depths import AtDepth
from thawline.training.recipe import tracked

log = logging.getLogger(__name__)

FRESH_SEED = 500
"""Added to a thousand times the seed: trials and final fine-tunings have other heads and orders."""


@dataclass(frozen=True)
class Winner:
    """The best trial of one depth: `recipe` is what it tried, `unit` the last frozen unit (None at 0)."""

    depth: int
    unit: str | None
    trial: FrozenTrial
    recipe: Finetune


class Seeds:
    """A study with a place for each fresh seed of each depth's winner: nothing is proposed, nothing pruned.

    Places go round the depths, so that what is finished at any time is about equal at all of them, and more
    seeds are only more places. Other winners are another study.

    Making one makes the study that chose the winners too, unless it is given.

    Attributes:
        trials: the study that chose the winners.
        winners: at each depth that has one, by increasing depth.
        folder: holds, for every finished seed, what it said of each validation picture, and its weights.
    """

    def __init__(self, config: Config, artifacts: Artifacts, trials: Trials | None = None) -> None:
        self.trials = trials or Trials(config, artifacts)
        self.config, self.seed = config, config.seed
        self.search = replace(config.search, sampler=SamplerName.random, pruner=PrunerName.none)
        self.winners = winners(self.trials, open_study(self.trials, artifacts.studies))
        self.folder = artifacts.outcomes / self.name

    @property
    def name(self) -> str:
        """The name of the trials' study, and a mark of the winners and of the code that trains them anew."""
        mark = fingerprint([self._won(), code_identity(__name__, rows=())])
        return f"{self.trials.name}-seeds-{mark[:6]}"

    @property
    def decisive(self) -> dict[str, Any]:
        """All that decides the trials, and who won at each depth."""
        return {**self.trials.decisive, "winners": self._won()}

    @property
    def directions(self) -> list[str]:
        return ["maximize"]

    @property
    def steps(self) -> int:
        return 0

    @property
    def places(self) -> int:
        return self.search.seeds_per_depth * len(self.winners)

    def slot(self, index: int) -> Slot | None:
        if index >= self.places:
            return None
        seed, position = divmod(index, len(self.winners))
        winner = self.winners[position]
        changes = winner.trial.user_attrs.get(CHANGES)
        attrs = {"depth": winner.depth, "unit": winner.unit, "seed": seed}
        return Slot(winner.trial.params, {**attrs, CHANGES: changes} if changes else attrs)

    def objective(self, trial: optuna.Trial, parent: str) -> float:
        """Return the validation accuracy of one fresh training.

        What it said of each picture, and its weights, are on disk before it counts.
        """
        depth, seed = trial.user_attrs["depth"], trial.user_attrs["seed"]
        recipe = self.trials.recipe(trial)
        with tracking.run(
            f"depth {depth} seed {seed}",
            stage="search",
            parameters=tracked(
                recipe,
                depth,
                trial.user_attrs["unit"],
                units=len(self.trials.units),
                linear_head=self.trials.linear_head,
            ),
            tags=self.trials.tags,
            data=learned_from(self.trials.config.target, self.trials.store),
            parent=parent,
            study=trial.study.study_name,
        ) as run:
            trial.set_user_attr(RUN, run.id)
            outcome = self.trials.validating.outcome(
                recipe,
                self.config.seed * 1000 + FRESH_SEED + seed,
                repeat=seed,
                keep=self.weights(depth, seed),
            )
            save_outcome(self.folder / depth_name(depth), seed, outcome)
            run.log_history(outcome.history)
            run.log_metrics(outcome.cost)
            trial.set_user_attr("val_loss", outcome.loss)
            trial.set_user_attr("seconds", outcome.seconds)
        return outcome.accuracy

    def weights(self, depth: int, seed: int) -> Path:
        """Return the file of what one fresh training learned."""
        return self.folder / depth_name(depth) / seed_weights(seed)

    def points(self, study: optuna.Study) -> list[AtDepth]:
        """Return what the finished seeds of each depth showed; a depth without any is left out."""
        finished = self.finished(study)
        return [
            self._point(winner, finished[winner.depth]) for winner in self.winners if finished[winner.depth]
        ]

    def finished(self, study: optuna.Study) -> dict[int, list[FrozenTrial]]:
        """Return the complete trials of each winner's depth, by seed."""
        found: dict[int, list[FrozenTrial]] = {winner.depth: [] for winner in self.winners}
        for trial in complete(study, self.places):
            found[trial.user_attrs["depth"]].append(trial)
        return found

    def _point(self, winner: Winner, seeds: list[FrozenTrial]) -> AtDepth:
        return AtDepth(
            winner.depth,
            winner.unit,
            self._correct(winner.depth, [trial.user_attrs["seed"] for trial in seeds]),
            float(np.mean([trial.user_attrs["seconds"] for trial in seeds])),
            winner.trial.user_attrs["trainable_parameters"],
        )

    def _correct(self, depth: int, seeds: list[int]) -> np.ndarray:
        folder = self.folder / depth_name(depth)
        found, correct, _ = load_outcomes(folder, seeds)
        absent = [seed for seed in seeds if seed not in found or not self.weights(depth, seed).is_file()]
        if absent:
            raise UserError(
                f"{folder} lacks what seed {absent[0]} came to, but the study {self.name} says that it was "
                "trained.\n  Put it back (workers on several machines need one scratch folder that all of "
                "them can write to), or begin another study: search.study=another_name"
            )
        return correct

    def _won(self) -> dict[str, Any]:
        """Return each depth's winner, JSON-like."""
        return {
            str(winner.depth): {"trial": winner.trial.number, **winner.trial.params}
            for winner in self.winners
        }


def winners(trials: Trials, study: optuna.Study) -> list[Winner]:
    """Return the winner of each depth that has one, by increasing depth."""
    at_depth: dict[int, list[FrozenTrial]] = {}
    for trial in complete(study, trials.total):
        at_depth.setdefault(trial.user_attrs["depth"], []).append(trial)
    first = ((depth, best(those)) for depth, those in sorted(at_depth.items()))
    return [
        Winner(depth, trial.user_attrs["unit"], trial, trials.recipe(trial))
        for depth, trial in first
        if trial
    ]
