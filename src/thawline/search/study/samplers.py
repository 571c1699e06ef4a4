"""Samplers, which propose trials, and pruners, which stop hopeless ones, by name."""

import warnings
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, CmaEsSampler, GPSampler, RandomSampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial

from thawline.config.sections import PrunerName, SamplerName, Search
from thawline.search.task import RATES

LEARN_NOTHING = (SamplerName.random, SamplerName.grid)
"""Samplers that learn nothing from the trials."""
NEED_ALL_TRIALS = (SamplerName.gp, SamplerName.cmaes)
"""Samplers that learn only the parameters that all finished trials have."""


def sampler(search: Search, seed: int) -> BaseSampler:
    """Return the sampler that `search.sampler` names, seeded anew for each trial from `seed` and the trial's
    number.

    So a study that was interrupted proposes what an undisturbed one would have, and for `random` each trial
    has the same parameters whoever runs it and when. The first `search.startup_trials` trials are random.
    A trial with the attribute `rates` is drawn from that rather than from its number. A grid's trials name
    all of their parameters, so that nothing is left to propose.
    """
    return _ByNumber(search, seed)


def reproducible(search: Search) -> str | None:
    """Return None if the same trials come to the same end whatever the number of workers; else why not."""
    if search.sampler not in LEARN_NOTHING:
        return (
            f"the sampler {search.sampler.name} learns from the trials that are over when it is asked, and "
            "with several workers that depends on which is the faster (random and grid do not)"
        )
    if search.pruner is not PrunerName.none:
        return (
            f"each trial has the same parameters, but the pruner {search.pruner.name} compares a trial with "
            "those that are ahead of it, and with several workers that depends on which is the faster"
        )
    return None


def unlearned(search: Search, depths: Sequence[int], units: int) -> str | None:
    """Say why the sampler cannot learn the body's rate at these `depths`, and what to do; None if it can."""
    if search.sampler not in NEED_ALL_TRIALS or units not in depths or len(depths) == 1:
        return None
    return (
        f"the sampler {search.sampler.name} learns only parameters that exist in every trial; at depth "
        f"{units} all is frozen and the body has no rate, so it is drawn at random in all trials. "
        f"Leave {units} out of search.space.depths, or use search.sampler=tpe"
    )


def pruner(search: Search, steps: int) -> optuna.pruners.BasePruner:
    """Return the pruner that `search.pruner` names, for trials that report at steps up to `steps` - 1.

    median (Golovin et al. 2017) starts after five trials and a third of the reports; asha (Li et al. 2020)
    keeps the best third after a fifth of the reports and again after three times as many; hyperband (Li et
    al. 2018) does the same in several groups of trials that are spared for longer and longer; wilcoxon
    tests the folds of a cross-validation in pairs with those of the best trial.
    """
    makers: dict[PrunerName, Callable[[], optuna.pruners.BasePruner]] = {
        PrunerName.none: optuna.pruners.NopPruner,
        PrunerName.median: lambda: optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=steps // 3),
        PrunerName.asha: lambda: optuna.pruners.SuccessiveHalvingPruner(
            min_resource=max(1, steps // 5), reduction_factor=3
        ),
        PrunerName.hyperband: lambda: optuna.pruners.HyperbandPruner(
            min_resource=max(1, steps // 9), max_resource=max(1, steps), reduction_factor=3
        ),
        PrunerName.wilcoxon: lambda: optuna.pruners.WilcoxonPruner(p_threshold=0.1),
    }
    return _quietly(makers[search.pruner])


class _ByNumber(BaseSampler):
    """Hands each trial to a sampler made for its number alone."""

    def __init__(self, search: Search, seed: int) -> None:
        self._search = search
        self._seed = seed
        self._current: tuple[int | None, BaseSampler] = (None, _Random(seed, 0))

    def _of(self, trial: FrozenTrial) -> BaseSampler:
        number, found = self._current
        if number != trial.number:
            key = trial.user_attrs.get(RATES, trial.number)
            random = trial.number < self._search.startup_trials or self._search.sampler in LEARN_NOTHING
            found = _Random(self._seed, key) if random else _learning(self._search, self._seed, key)
            self._current = (trial.number, found)
        return found

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self._of(trial).infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return self._of(trial).sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self._of(trial).sample_independent(study, trial, param_name, param_distribution)


class _Random(BaseSampler):
    """Draws each parameter from its name and a key alone, so that it does not matter which others there are:
    trials with one key have equal rates at every depth."""

    def __init__(self, seed: int, key: int) -> None:
        self._seed, self._key = seed, key

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:  # noqa: ARG002
        return {}

    def sample_relative(
        self,
        study: Study,  # noqa: ARG002
        trial: FrozenTrial,  # noqa: ARG002
        search_space: dict[str, BaseDistribution],  # noqa: ARG002
    ) -> dict[str, Any]:
        return {}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        drawn = RandomSampler(seed=_state(self._seed, self._key, zlib.crc32(param_name.encode())))
        return drawn.sample_independent(study, trial, param_name, param_distribution)


class _CmaEs(CmaEsSampler):
    """Starts anew where the set of parameters that all trials have has shrunk. Optuna's would only draw at
    random from then on, because its state has another number of dimensions."""

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        found = super().infer_relative_search_space(study, trial)
        # private, but the only name that Optuna keeps the state of one number of dimensions under
        self._attr_prefix = f"cma{len(found)}:"
        return found


def _learning(search: Search, seed: int, key: int) -> BaseSampler:
    state, startup, random = _state(seed, key), search.startup_trials, _Random(seed, key)
    alone: dict[str, Any] = {"independent_sampler": random, "warn_independent_sampling": False}
    makers: dict[SamplerName, Callable[[], BaseSampler]] = {
        # trials of other workers that still run count as bad, so that two do not try the same
        SamplerName.tpe: lambda: TPESampler(
            seed=state, n_startup_trials=startup, multivariate=True, group=True, constant_liar=True
        ),
        SamplerName.cmaes: lambda: _CmaEs(seed=state, n_startup_trials=startup, **alone),
        SamplerName.gp: lambda: GPSampler(seed=state, n_startup_trials=startup, **alone),
    }
    return _quietly(makers[search.sampler])


def _quietly(make: Callable[[], Any]) -> Any:
    """Return what `make` makes, without the warning that a part of Optuna is marked experimental."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return make()


def _state(*keys: int) -> int:
    return int(np.random.SeedSequence(keys).generate_state(1)[0])
