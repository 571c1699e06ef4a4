"""What proposes trials and what stops them."""

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.trial import Trial, TrialState

from thawline.config.sections import Finetune, Objective, PrunerName, SamplerName, Search, ValidationName
from thawline.search.space.parameters import TrialSpace, suggest
from thawline.search.study.samplers import pruner, reproducible, sampler, unlearned
from thawline.search.task import RATES

BASE = Finetune(body_lr=1e-3, head_lr=1e-2)
ALL = [0, 1, 2, 3]
LEARNING = [SamplerName.tpe, SamplerName.cmaes, SamplerName.gp]


@pytest.fixture(autouse=True)
def _quiet() -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def ask(study: optuna.Study, params: dict[str, Any] | None = None, **attrs: int) -> Trial:
    study.enqueue_trial(params or {}, user_attrs=attrs)
    return study.ask()


def proposed(search: Search, order: list[int], seed: int = 0) -> dict[int, dict[str, Any]]:
    """The parameters of so many trials, asked for in this order, none of which ends."""
    study = optuna.create_study(sampler=sampler(search, seed))
    trials = [ask(study) for _ in order]
    return {number: _params(trials[number], search) for number in order}


def _params(trial: Trial, search: Search) -> dict[str, Any]:
    suggest(trial, TrialSpace(search, BASE, ALL, 3, linear_head=False))
    return dict(trial.params)


def x_and_y(trial: Trial) -> float:
    return -((trial.suggest_float("x", -1, 1) - 0.5) ** 2) - (trial.suggest_float("y", -1, 1) + 0.5) ** 2


def run(
    search: Search, objective: Callable[[Trial], float], trials: int, study: optuna.Study | None = None
) -> optuna.Study:
    """A study of so many trials; one that exists is gone on with, by a process of its own."""
    study = study or optuna.create_study(direction="maximize")
    study.sampler = sampler(search, seed=3)
    for _ in range(len(study.trials), trials):
        trial = ask(study)
        study.tell(trial, objective(trial))
    return study


# --- proposals belong to numbers


@pytest.mark.parametrize("name", list(SamplerName))
def test_a_trial_proposes_the_same_whoever_comes_first(name: SamplerName) -> None:
    search = Search(sampler=name)
    assert proposed(search, [0, 1, 2, 3]) == proposed(search, [3, 1, 2, 0])


def test_numbers_and_seeds_differ() -> None:
    found = proposed(Search(), [0, 1])
    assert found[0]["head_lr"] != found[1]["head_lr"]
    assert proposed(Search(), [0], seed=1) != proposed(Search(), [0])


def test_equal_rates_are_drawn_at_every_depth() -> None:
    study = optuna.create_study(sampler=sampler(Search(sampler=SamplerName.random), 0))
    found = [_params(ask(study, {"depth": depth}, **{RATES: 7}), Search()) for depth in [0, 2, 3]]
    assert len({params["head_lr"] for params in found}) == 1
    assert found[0]["body_lr"] == found[1]["body_lr"]
    other = ask(study, {"depth": 0}, **{RATES: 8})
    assert _params(other, Search())["head_lr"] != found[0]["head_lr"]


@pytest.mark.parametrize("name", LEARNING)
def test_an_interrupted_study_goes_on_as_an_undisturbed_one(name: SamplerName) -> None:
    search = Search(sampler=name, startup_trials=4)
    whole = run(search, x_and_y, 9)
    halved = run(search, x_and_y, 9, run(search, x_and_y, 6))
    assert [trial.params for trial in whole.trials] == [trial.params for trial in halved.trials]


# --- samplers learn


@pytest.mark.parametrize(
    "name", [SamplerName.tpe, SamplerName.cmaes, pytest.param(SamplerName.gp, marks=pytest.mark.slow)]
)
def test_samplers_that_learn_come_nearer_than_chance(name: SamplerName) -> None:
    late = [trial.value for trial in run(Search(sampler=name), x_and_y, 40).trials[-10:]]
    random = [trial.value for trial in run(Search(sampler=SamplerName.random), x_and_y, 40).trials[-10:]]
    assert np.mean(late) > np.mean(random) / 2  # both are negative, 0 is best


def conditional(trial: Trial) -> float:
    """y exists only in some trials, the first without it is number 8."""
    value = -((trial.suggest_float("x", -1, 1) - 0.5) ** 2)
    return value if trial.number == 8 else value - (trial.suggest_float("y", -1, 1) + 0.5) ** 2


@pytest.mark.slow
@pytest.mark.parametrize("name", [SamplerName.cmaes, SamplerName.gp])
def test_cma_es_and_gp_go_on_with_the_parameters_that_all_trials_have(
    name: SamplerName, caplog: pytest.LogCaptureFixture
) -> None:
    study = optuna.create_study(direction="maximize")
    with caplog.at_level(logging.WARNING):
        run(Search(sampler=name, startup_trials=4), conditional, 40, study)
    late = np.array([trial.params["x"] for trial in study.trials[-10:]])
    assert abs(late - 0.5).mean() < 0.25  # 0.625 at random
    assert not caplog.records


def test_a_grids_trials_are_what_they_name() -> None:
    search = Search(sampler=SamplerName.grid)
    study = optuna.create_study(sampler=sampler(search, 0))
    trial = ask(study, {"depth": 1, "head_lr": 1e-3, "body_lr": 1e-4})
    assert _params(trial, search) == {"depth": 1, "head_lr": 1e-3, "body_lr": 1e-4}


@pytest.mark.parametrize("name", [SamplerName.tpe, SamplerName.gp, SamplerName.random])
def test_two_objectives_can_be_followed(name: SamplerName) -> None:
    search = Search(
        sampler=name, pruner=PrunerName.none, objective=Objective.accuracy_and_cost, startup_trials=3
    )
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=sampler(search, 0))
    for _ in range(6):
        trial = ask(study)
        study.tell(trial, [trial.suggest_float("x", 0, 1), trial.suggest_float("y", 0, 1)])
    assert study.best_trials


def test_limits_on_trials_do_not_disturb_cma_es() -> None:
    study = optuna.create_study(direction="maximize", sampler=sampler(Search(sampler=SamplerName.cmaes), 0))
    trial = ask(study)
    trial.set_constraint("limit", 1.0)
    study.tell(trial, x_and_y(trial))  # a warning would be an error here


# --- what can be said of several workers


@pytest.mark.parametrize("name", [SamplerName.random, SamplerName.grid])
def test_samplers_that_do_not_learn_give_the_same_trials_to_any_number_of_workers(name: SamplerName) -> None:
    assert reproducible(Search(sampler=name, pruner=PrunerName.none)) is None


@pytest.mark.parametrize(
    ("search", "reason"),
    [
        (Search(pruner=PrunerName.none), "the sampler tpe learns from the trials"),
        (Search(sampler=SamplerName.random), "the pruner median compares"),
    ],
)
def test_why_several_workers_may_give_other_trials_is_said(search: Search, reason: str) -> None:
    assert reason in (reproducible(search) or "")


@pytest.mark.parametrize("name", [SamplerName.gp, SamplerName.cmaes])
def test_a_linear_probe_among_the_depths_keeps_some_samplers_from_learning_the_bodys_rate(
    name: SamplerName,
) -> None:
    search = Search(sampler=name)
    assert "Leave 3 out of search.space.depths" in (unlearned(search, [0, 1, 2, 3], 3) or "")
    assert unlearned(search, [0, 1, 2], 3) is None
    assert unlearned(search, [3], 3) is None
    assert unlearned(Search(), [0, 1, 2, 3], 3) is None


# --- pruners


def stopped(name: PrunerName, curves: list[list[float]]) -> list[int]:
    """After how many reports each trial was stopped or over, one trial after another."""
    validation = ValidationName.kfold if name is PrunerName.wilcoxon else ValidationName.holdout
    search = Search(pruner=name, validation=validation)
    study = optuna.create_study(direction="maximize", pruner=pruner(search, len(curves[0])))
    return [_reports(study, curve) for curve in curves]


def _reports(study: optuna.Study, curve: list[float]) -> int:
    trial = study.ask()
    for step, value in enumerate(curve):
        trial.report(value, step)
        if trial.should_prune():
            study.tell(trial, state=TrialState.PRUNED)
            return step + 1
    study.tell(trial, curve[-1])
    return len(curve)


GOOD = [[0.5 + 0.04 * step + 0.001 * trial for step in range(10)] for trial in range(8)]
BAD = [0.1] * 10


@pytest.mark.parametrize("name", [PrunerName.median, PrunerName.asha, PrunerName.hyperband])
def test_a_hopeless_trial_is_stopped_early(name: PrunerName) -> None:
    assert stopped(name, [*GOOD, *[BAD] * 6])[-6:] != [10] * 6


@pytest.mark.slow
@pytest.mark.parametrize("name", list(PrunerName))
def test_trials_that_are_better_than_all_before_are_never_stopped(name: PrunerName) -> None:
    assert stopped(name, GOOD) == [10] * len(GOOD)


def test_without_a_pruner_nothing_is_stopped() -> None:
    assert stopped(PrunerName.none, [*GOOD, BAD])[-1] == 10


def test_wilcoxon_stops_what_is_worse_on_every_fold() -> None:
    best, worse, like = [0.9, 0.8, 0.85, 0.9, 0.95], [0.7, 0.6, 0.6, 0.7, 0.7], [0.9, 0.75, 0.9, 0.85, 0.95]
    assert stopped(PrunerName.wilcoxon, [best, worse, like]) == [5, 4, 5]


@pytest.mark.parametrize("name", list(PrunerName))
@pytest.mark.parametrize("steps", [0, 1])
def test_every_pruner_can_be_made_for_short_trials(name: PrunerName, steps: int) -> None:
    assert stopped(name, [[0.5] * max(1, steps)] * 3) == [max(1, steps)] * 3
