"""A contender's study: its places, what a trial comes to, and which one is chosen."""

import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState
from tests_trials import Make, Ran, run

from thawline.artifacts import Artifacts
from thawline.config.choices import Goal, Keep, Objective, SamplerName, ValidationName
from thawline.config.errors import UserError
from thawline.config.recipe.rewards import Reward
from thawline.config.sections import Config, Contender, Range, Space
from thawline.search.results.chosen import chosen
from thawline.search.results.tables import pareto_table, trials_table
from thawline.search.search import _announce
from thawline.search.study.run import run_study
from thawline.search.study.study import RUN, counted, open_study
from thawline.search.study.time_limit import set_deadline
from thawline.search.trial.trials import Trials
from thawline.tracking.connection import connected


def places(trials: Trials) -> list[dict[str, Any]]:
    found = []
    while (slot := trials.slot(len(found))) is not None:
        found.append({**slot.params, **slot.attrs})
    return found


def test_known_recipes_come_first_and_free_places_after(project: Artifacts, config: Make) -> None:
    trials = Trials(config(trials=6, known=["linear_probe", "full"]), project)
    assert [place.get("known") for place in places(trials)] == [
        *("configured", "linear_probe", "full"),
        *(None, None, None),
    ]


def test_a_depth_named_by_its_unit_is_known(project: Artifacts, config: Make) -> None:
    trials = Trials(config(recipe={"depth": "blocks.0"}), project)
    first = trials.slot(0)
    assert first is not None
    assert first.params["depth"] == 2


def test_a_grid_has_a_place_for_each_of_its_points(project: Artifacts, config: Make) -> None:
    settings = {"sampler": SamplerName.grid, "grid_points": 2, "depths": [1, 3]}
    trials = Trials(config(trials=50, **settings), project)
    found = places(trials)
    assert len(found) == trials.total == 2 * 2 + 1
    assert len({tuple(sorted(place.items())) for place in found}) == len(found)
    with pytest.raises(UserError, match=r"(?s)grid.* 5 points, but search\.trials = 4.*search\.grid_points"):
        Trials(config(trials=4, **settings), project)


@pytest.mark.parametrize("contender", [Contender.linear_probe, Contender.from_scratch])
def test_a_contender_of_one_depth_has_the_trials_of_one(
    contender: Contender, project: Artifacts, config: Make
) -> None:
    trials = Trials(config(contender, goal=Goal.depth_curve, trials_per_depth=2), project)
    solved = contender is Contender.linear_probe
    assert [place["rates"] for place in places(trials)] == ([0] if solved else [0, 1])


CHANGES: dict[str, Callable[[Config], Any]] = {
    "space": lambda config: setattr(config.search.space, "head_lr", Range(1e-3, 1e-1)),
    "choices": lambda config: setattr(config.search.space, "choices", {"weight_decay": [0.0, 0.1]}),
    "sampler": lambda config: setattr(config.search, "sampler", SamplerName.tpe),
    "validation": lambda config: setattr(config.search, "validation", ValidationName.kfold),
    "limit": lambda config: setattr(config.search.limit, "parameters", 10),
    "seed": lambda config: setattr(config, "seed", 1),
    "recipe": lambda config: setattr(config.finetune, "epochs", 2),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_decides_the_trials_is_another_study(name: str, project: Artifacts, config: Make) -> None:
    before, changed = config(), config()
    CHANGES[name](changed)
    one, other = Trials(before, project), Trials(changed, project)
    assert one.name != other.name
    assert one.decisive != other.decisive


def test_who_runs_trials_and_how_many_does_not_decide_them(project: Artifacts, config: Make) -> None:
    other = config(trials=9, workers=2, heartbeat=3, seeds_per_depth=9)
    other.trainer = replace(other.trainer, threads=2, devices=2)
    assert Trials(config(), project).name == Trials(other, project).name


def test_a_named_study_says_what_has_changed(project: Artifacts, config: Make) -> None:
    trials = Trials(config(study="mine"), project)
    assert trials.name == "mine-finetuned"
    open_study(trials, project.studies)
    changed = Trials(config(study="mine", space=Space(head_lr=Range(1e-4, 1e-1))), project)
    with pytest.raises(
        UserError, match=r"(?s)mine-finetuned.*fresh_rates\.low: study has 0\.0003, now 0\.0001"
    ):
        open_study(changed, project.studies)


CHOICES = {"weight_decay": [0.0, 0.1], "method": ["full", "norm"]}


@pytest.fixture(scope="module")
def three(project: Artifacts, config: Make) -> Ran:
    """The configured trial, a linear probe and one that was drawn."""
    return run(config(space=Space(choices=CHOICES), known=["linear_probe"]), project)


def test_what_a_trial_came_to_is_in_both_stores(three: Ran) -> None:
    trials, study = three
    trial = counted(study)[0]
    stored = connected().client.get_run(trial.user_attrs[RUN])
    assert stored.data.tags["state"] == "complete"
    assert stored.data.tags["study"] == trials.name
    assert stored.data.metrics["val_accuracy"] == pytest.approx(trial.value)
    assert stored.data.metrics["trainable_parameters"] == trial.user_attrs["trainable_parameters"]
    assert {"head_lr", "body_lr", "depth", "unit", "epochs"} <= stored.data.params.keys()
    attributes = trial.user_attrs
    assert (attributes["depth"], attributes["epochs"], attributes["images"]) == (1, 1, 16)
    assert attributes["training_flops"] > 0
    with np.load(trials.outcomes / "0.npz") as kept:
        assert kept["correct"].mean() == trial.value
        assert kept["losses"].mean() == pytest.approx(attributes["val_loss"])


def test_the_selected_score_is_corrected(three: Ran, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trials, study = three
    told = chosen(trials, study).selected
    assert told is not None
    assert told["trials"] == 3
    assert told["images"] == 16
    assert told["val_accuracy"] == max(trial.value for trial in counted(study))
    assert told["corrected"]["low"] <= told["corrected"]["mean"] <= told["corrected"]["high"]
    assert told["validation"]["kind"] == "holdout"
    assert "more than a third" in told["validation"]["reason"]
    lacking = shutil.copytree(trials.outcomes, tmp_path / "outcomes")
    (lacking / "1.npz").unlink()
    monkeypatch.setattr(Trials, "outcomes", lacking)
    again = chosen(trials, study).selected
    assert again is not None
    assert again["corrected"] is None


def test_the_table_of_trials_has_what_was_searched(three: Ran) -> None:
    trials, study = three
    table = trials_table(study, trials.total, list(CHOICES))
    assert list(table["known"].fillna("")) == ["configured", "linear_probe", ""]
    assert table["weight_decay"].isin([0.0, 0.1, 0.01]).all()
    assert math.isnan(table["body_lr"][1])
    assert table["method"][2] in ("full", "norm") or table["depth"][2] == 3
    assert (table["started"] < table["finished"]).all()
    assert table["started"].min() == 0
    assert (table["images"] == 16).all()
    assert table["worker"].nunique() == 1


def test_what_a_smaller_total_gives_a_larger_study_gives_too(three: Ran) -> None:
    trials, study = three
    before = chosen(trials, study)
    run(replace(trials.config, search=replace(trials.search, trials=4)), trials.artifacts)
    assert len(counted(study)) == 4
    assert chosen(trials, study) == before


@pytest.mark.slow
def test_two_objectives_give_a_front(project: Artifacts, config: Make) -> None:
    both = config(objective=Objective.accuracy_and_cost, depths=[0, 3], trials=4)
    trials, study = run(both, project)
    table, front = trials_table(study, trials.total), pareto_table(study, trials.total)
    assert [len(trial.values) for trial in counted(study)] == [2] * 4
    assert set(front["trial"]) == {trial.number for trial in first_of_equals(study)}
    assert front["training_flops"].is_monotonic_increasing
    assert front["val_accuracy"].is_monotonic_increasing
    best = table.sort_values(["value", "training_flops", "val_loss"], ascending=[False, True, True]).iloc[0]
    told = chosen(trials, study).selected
    assert told is not None
    assert told["trial"] == best["number"]


def test_a_cost_that_cannot_be_counted_is_refused_before_any_training(
    project: Artifacts, config: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def uncounted(*_: object) -> None:
        raise ValueError("an operation of its own")

    monkeypatch.setattr("thawline.search.trial.trials.flops", uncounted)
    message = r"(?s)training of tests_networks\.Small cannot be counted: an operation of its own"
    with pytest.raises(UserError, match=message + r".*set search\.objective=accuracy$"):
        Trials(config(objective=Objective.accuracy_and_cost), project)
    Trials(config(), project)
    Trials(config(objective=Objective.accuracy_and_cost, enabled=False), project)


def test_a_study_that_keeps_best_epochs_says_what_that_does_to_its_scores(
    project: Artifacts, config: Make, caplog: pytest.LogCaptureFixture
) -> None:
    _announce(Trials(config(recipe={"keep": Keep.best}), project))
    assert "search finetuned: finetune.keep = best chooses the epoch of each trial" in caplog.text


def test_a_study_makes_no_second_task_where_it_has_one(project: Artifacts, config: Make) -> None:
    def unused(*_: object) -> Trials:
        raise AssertionError("was made again")

    trials = Trials(config(trials=1, study="done"), project)
    study = open_study(trials, project.studies)
    trial = optuna.trial.create_trial(value=0.5)
    study.add_trial(trial)
    run_study(unused, trials.config, project, "", "search", trials)


def first_of_equals(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    """Optuna's front, of trials with the same two values the one with the lowest loss."""
    found: dict[tuple[float, ...], optuna.trial.FrozenTrial] = {}
    for trial in sorted(study.best_trials, key=lambda trial: (trial.user_attrs["val_loss"], trial.number)):
        found.setdefault(tuple(trial.values), trial)
    return list(found.values())


def test_a_study_whose_time_is_up_ends_with_one_trial(project: Artifacts, config: Make) -> None:
    timed = config(trials=6, recipe={"epochs": 2})
    set_deadline(open_study(Trials(timed, project), project.studies), 0)
    _, study = run(timed, project)
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE]


@pytest.mark.slow
def test_two_workers_try_what_one_does(project: Artifacts, config: Make, tmp_path: Path) -> None:
    settings = {"trials": 4, "validation": ValidationName.kfold, "folds": 2, "known": ["linear_probe"]}
    _, alone = run(config(**settings, study="alone"), project)
    _, together = run(config(**settings, study="together", workers=2), project)
    tried = [[(trial.params, trial.value) for trial in counted(study)] for study in (alone, together)]
    assert tried[0] == tried[1]
    assert len(tried[0]) == 4


def test_what_mistakes_cost_is_part_of_a_recipe_that_is_rewarded_by_it(
    project: Artifacts, config: Make, tmp_path: Path
) -> None:
    table = tmp_path / "costs.csv"
    table.write_text("true,down,across\ndown,0,5\nacross,1,0\n")

    def trials(**recipe: Any) -> Trials:
        made = config()
        costs = replace(made.evaluate, costs=str(table))
        return Trials(
            replace(made, finetune=replace(made.finetune, epochs=2, **recipe), evaluate=costs), project
        )

    rewarded = trials(reward=Reward.costs)
    assert rewarded.base.reward_costs == [[0.0, 1.0], [5.0, 0.0]]
    assert trials().base.reward_costs is None
    names = {rewarded.name, trials().name}
    table.write_text("true,down,across\ndown,0,7\nacross,1,0\n")
    assert trials(reward=Reward.costs).name not in names
    assert trials().name in names
    with pytest.raises(UserError, match="no class is called so; nearest"):
        trials(reward=Reward.f_beta, reward_class="acros")
