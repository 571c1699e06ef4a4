"""A contender's study: its places, what a trial comes to, and which one is chosen."""

import math
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState
from tests_trials import run

from thawline import tracking
from thawline.artifacts import CARD, MODEL, Artifacts
from thawline.config.choices import Goal, Keep, Objective, PrunerName, SamplerName, ValidationName
from thawline.config.errors import UserError
from thawline.config.recipe.rewards import Reward
from thawline.config.sections import Config, Contender, Finetune, Limit, Range, Search, Space, Trainer
from thawline.models.checkpoint import build_random, read_card, save_model
from thawline.search.results.chosen import chosen
from thawline.search.results.tables import pareto_table, trials_table
from thawline.search.search import _announce
from thawline.search.study.run import run_study
from thawline.search.study.study import RUN, counted, open_study
from thawline.search.study.time_limit import set_deadline
from thawline.search.trial.trials import Trials

Make = Callable[..., Config]


@pytest.fixture
def config(runs: str) -> Make:
    """By settings of the search: a random one of three trials of one epoch unless they say otherwise."""

    def made(contender: Contender = Contender.finetuned, recipe: dict[str, Any] | None = None, **search: Any):
        quick = {"trials": 3, "sampler": SamplerName.random, "pruner": PrunerName.none, "known": []}
        fields = {"epochs": 1, "batch_size": 8, "body_lr": 1e-2, "depth": 1, **(recipe or {})}
        found = Config(
            contenders=[contender],
            trainer=Trainer(accelerator="cpu", threads=1),
            finetune=Finetune(**fields),
            search=Search(**{**quick, **search}),
        )
        found.tracking.uri = runs
        return found

    return made


def places(trials: Trials) -> list[dict[str, Any]]:
    found = []
    while (slot := trials.slot(len(found))) is not None:
        found.append({**slot.params, **slot.attrs})
    return found


def test_known_recipes_come_first_and_free_places_after(toy_artifacts: Artifacts, config: Make) -> None:
    trials = Trials(config(trials=6, known=["linear_probe", "full"]), toy_artifacts)
    assert [place.get("known") for place in places(trials)] == [
        *("configured", "linear_probe", "full"),
        *(None, None, None),
    ]


def test_a_depth_named_by_its_unit_is_known(toy_artifacts: Artifacts, config: Make) -> None:
    trials = Trials(config(recipe={"depth": "blocks.0"}), toy_artifacts)
    first = trials.slot(0)
    assert first is not None
    assert first.params["depth"] == 2


def test_a_grid_has_a_place_for_each_of_its_points(toy_artifacts: Artifacts, config: Make) -> None:
    settings = {"sampler": SamplerName.grid, "grid_points": 2, "space": Space(depths=[1, 3])}
    trials = Trials(config(trials=50, **settings), toy_artifacts)
    found = places(trials)
    assert len(found) == trials.total == 2 * 2 + 1
    assert len({tuple(sorted(place.items())) for place in found}) == len(found)
    with pytest.raises(UserError, match=r"(?s)grid.* 5 points, but search\.trials = 4.*search\.grid_points"):
        Trials(config(trials=4, **settings), toy_artifacts)


def test_a_depth_curve_gives_every_depth_in_turn_a_trial(toy_artifacts: Artifacts, config: Make) -> None:
    settings = {"goal": Goal.depth_curve, "trials_per_depth": 3}
    found = places(Trials(config(**settings), toy_artifacts))
    # nothing varies where a solved head alone learns
    assert [place["depth"] for place in found] == [0, 1, 2, 3] + [0, 1, 2] * 2
    assert [place["rates"] for place in found] == [0] * 4 + [1] * 3 + [2] * 3
    assert {place.get("body_lr") for place in found[:3]} == {
        3e-3
    }  # the configured rate, moved into the range
    assert all(place.keys() == {"depth", "rates"} for place in found[4:])


@pytest.mark.parametrize("contender", [Contender.linear_probe, Contender.from_scratch])
def test_a_contender_of_one_depth_has_the_trials_of_one(
    contender: Contender, toy_artifacts: Artifacts, config: Make
) -> None:
    trials = Trials(config(contender, goal=Goal.depth_curve, trials_per_depth=2), toy_artifacts)
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
def test_what_decides_the_trials_is_another_study(name: str, toy_artifacts: Artifacts, config: Make) -> None:
    before, changed = config(), config()
    CHANGES[name](changed)
    one, other = Trials(before, toy_artifacts), Trials(changed, toy_artifacts)
    assert one.name != other.name
    assert one.decisive != other.decisive


def test_who_runs_trials_and_how_many_does_not_decide_them(toy_artifacts: Artifacts, config: Make) -> None:
    other = config(trials=9, workers=2, heartbeat=3, seeds_per_depth=9)
    other.trainer = replace(other.trainer, threads=2, devices=2)
    assert Trials(config(), toy_artifacts).name == Trials(other, toy_artifacts).name


def test_a_named_study_says_what_has_changed(toy_artifacts: Artifacts, config: Make) -> None:
    trials = Trials(config(study="mine"), toy_artifacts)
    assert trials.name == "mine-finetuned"
    open_study(trials, toy_artifacts.studies)
    changed = Trials(config(study="mine", space=Space(head_lr=Range(1e-4, 1e-1))), toy_artifacts)
    with pytest.raises(
        UserError, match=r"(?s)mine-finetuned.*fresh_rates\.low: study has 0\.0003, now 0\.0001"
    ):
        open_study(changed, toy_artifacts.studies)


def test_what_a_trial_came_to_is_in_both_stores(toy_artifacts: Artifacts, config: Make) -> None:
    trials, study = run(config(trials=1), toy_artifacts)
    (trial,) = counted(study)
    stored = tracking.connection.connected().client.get_run(trial.user_attrs[RUN])
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


def test_the_selected_score_is_corrected(toy_artifacts: Artifacts, config: Make) -> None:
    trials, study = run(config(), toy_artifacts)
    told = chosen(trials, study).selected
    assert told is not None
    assert told["trials"] == 3
    assert told["images"] == 16
    assert told["val_accuracy"] == max(trial.value for trial in counted(study))
    assert told["corrected"]["low"] <= told["corrected"]["mean"] <= told["corrected"]["high"]
    assert told["validation"]["kind"] == "holdout"
    assert "more than a third" in told["validation"]["reason"]
    (trials.outcomes / "1.npz").unlink()
    again = chosen(trials, study).selected
    assert again is not None
    assert again["corrected"] is None


def test_trials_may_be_validated_by_folds(toy_artifacts: Artifacts, config: Make) -> None:
    trials, study = run(config(trials=2, validation=ValidationName.kfold, folds=2), toy_artifacts)
    told = chosen(trials, study).selected
    assert told is not None
    assert (told["images"], told["validation"]["folds"]) == (32, 2)
    with np.load(trials.outcomes / "1.npz") as kept:
        assert kept["correct"].shape == (32,)


def test_too_many_parameters_are_pruned_before_training(
    toy_artifacts: Artifacts, config: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def untrained(*_: object, **__: object) -> None:
        raise AssertionError("was trained")

    monkeypatch.setattr("thawline.training.run.Training.run", untrained)
    limit = Limit(parameters=20)
    trials, study = run(config(trials=2, limit=limit, space=Space(depths=[0])), toy_artifacts)
    for trial in counted(study):
        count = trial.user_attrs["trainable_parameters"]
        assert trial.state is TrialState.PRUNED
        assert trial.constraints == {"parameters": count - 20}
        told = f"would train {count:,} parameters, search.limit.parameters = 20"
        assert trial.user_attrs["reason"] == told
    with pytest.raises(UserError, match=r"(?s)all 2 trials of finetuned failed or were pruned.*limit\.param"):
        chosen(trials, study)


def test_what_keeps_the_limit_is_chosen(toy_artifacts: Artifacts, config: Make) -> None:
    limited = config(trials=2, limit=Limit(parameters=20), known=["linear_probe"])
    trials, study = run(limited, toy_artifacts)
    assert [trial.state for trial in counted(study)] == [TrialState.PRUNED, TrialState.COMPLETE]
    assert chosen(trials, study).depth == 3


@pytest.mark.parametrize(
    ("limit", "reason"),
    [
        (Limit(seconds=1e-3), r"would train for \d+ seconds, search.limit.seconds = 0.001"),
        (Limit(memory=1.0), r"used [\d,]+ MiB of memory, search.limit.memory = 1"),
    ],
)
def test_a_training_that_takes_too_much_is_ended(
    limit: Limit, reason: str, toy_artifacts: Artifacts, config: Make
) -> None:
    _, study = run(config(trials=1, limit=limit, recipe={"epochs": 4}), toy_artifacts)
    (trial,) = counted(study)
    assert trial.state is TrialState.PRUNED
    assert trial.user_attrs["epochs"] < 4
    (value,) = trial.constraints.values()
    assert value > 0
    assert re.fullmatch(reason, trial.user_attrs["reason"])


def test_a_diverged_trial_fails_with_its_reason(toy_artifacts: Artifacts, config: Make) -> None:
    wild = Space(depths=[0], head_lr=Range(1e35, 1e36), body_lr=Range(1e35, 1e36))
    _, study = run(config(trials=1, space=wild), toy_artifacts)
    (trial,) = counted(study)
    assert trial.state is TrialState.FAIL
    assert "the training loss became" in trial.user_attrs["reason"]
    stored = tracking.connection.connected().client.get_run(trial.user_attrs[RUN])
    assert stored.data.tags["state"] == "failed"


@pytest.mark.parametrize("memory", [True, False])
def test_a_trial_without_memory_takes_smaller_parts_or_fails(
    memory: bool, toy_artifacts: Artifacts, config: Make
) -> None:
    folder = toy_artifacts.stage_output("replace_head")
    card = replace(read_card(folder / CARD), architecture="tests_networks.Hungry", options={"memory": memory})
    save_model(folder / MODEL, folder / CARD, build_random(card), card)
    # at depth 0, because less memory is needed where the frozen part is computed beforehand
    trials, study = run(config(trials=1, recipe={"depth": 0}), toy_artifacts)
    (trial,) = counted(study)
    if memory:
        assert (trial.state, trial.user_attrs["accumulate"]) == (TrialState.COMPLETE, 2)
        assert trials.recipe(trial).batch_size == 8
    else:
        assert trial.state is TrialState.FAIL
        assert trial.user_attrs["reason"] == "out of memory even with batches of 2 pictures."


def test_a_hopeless_trial_is_pruned_and_says_when(
    toy_artifacts: Artifacts, config: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(optuna.Trial, "should_prune", lambda _: True)
    _, study = run(config(trials=1, pruner=PrunerName.median, recipe={"epochs": 3}), toy_artifacts)
    (trial,) = counted(study)
    assert trial.user_attrs["reason"] == "not promising after 1 of 3 epochs (median)"
    assert list(trial.intermediate_values) == [0]
    stored = tracking.connection.connected().client.get_run(trial.user_attrs[RUN])
    assert (stored.data.tags["state"], "val_accuracy" in stored.data.metrics) == ("pruned", True)


def test_two_objectives_give_a_front(toy_artifacts: Artifacts, config: Make) -> None:
    both = config(objective=Objective.accuracy_and_cost, space=Space(depths=[0, 3]), trials=5)
    trials, study = run(both, toy_artifacts)
    table, front = trials_table(study, trials.total), pareto_table(study, trials.total)
    assert [len(trial.values) for trial in counted(study)] == [2] * 5
    assert set(front["trial"]) == {trial.number for trial in first_of_equals(study)}
    assert front["training_flops"].is_monotonic_increasing
    assert front["val_accuracy"].is_monotonic_increasing
    best = table.sort_values(["value", "training_flops", "val_loss"], ascending=[False, True, True]).iloc[0]
    told = chosen(trials, study).selected
    assert told is not None
    assert told["trial"] == best["number"]


def test_a_cost_that_cannot_be_counted_is_refused_before_any_training(
    toy_artifacts: Artifacts, config: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def uncounted(*_: object) -> None:
        raise ValueError("an operation of its own")

    monkeypatch.setattr("thawline.search.trial.trials.flops", uncounted)
    message = r"(?s)training of tests_networks\.Small cannot be counted: an operation of its own"
    with pytest.raises(UserError, match=message + r".*set search\.objective=accuracy$"):
        Trials(config(objective=Objective.accuracy_and_cost), toy_artifacts)
    Trials(config(), toy_artifacts)
    Trials(config(objective=Objective.accuracy_and_cost, enabled=False), toy_artifacts)


def test_a_study_that_keeps_best_epochs_says_what_that_does_to_its_scores(
    toy_artifacts: Artifacts, config: Make, caplog: pytest.LogCaptureFixture
) -> None:
    _announce(Trials(config(recipe={"keep": Keep.best}), toy_artifacts))
    assert "search finetuned: finetune.keep = best chooses the epoch of each trial" in caplog.text


def test_a_study_makes_no_second_task_where_it_has_one(toy_artifacts: Artifacts, config: Make) -> None:
    def unused(*_: object) -> Trials:
        raise AssertionError("was made again")

    trials = Trials(config(trials=1), toy_artifacts)
    study = open_study(trials, toy_artifacts.studies)
    trial = optuna.trial.create_trial(value=0.5)
    study.add_trial(trial)
    run_study(unused, trials.config, toy_artifacts, "", "search", trials)


def first_of_equals(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    """Optuna's front, of trials with the same two values the one with the lowest loss."""
    found: dict[tuple[float, ...], optuna.trial.FrozenTrial] = {}
    for trial in sorted(study.best_trials, key=lambda trial: (trial.user_attrs["val_loss"], trial.number)):
        found.setdefault(tuple(trial.values), trial)
    return list(found.values())


def test_the_table_of_trials_has_what_was_searched(toy_artifacts: Artifacts, config: Make) -> None:
    space = Space(choices={"weight_decay": [0.0, 0.1], "method": ["full", "norm"]})
    trials, study = run(config(space=space, trials=3, known=["linear_probe"]), toy_artifacts)
    table = trials_table(study, trials.total, list(space.choices))
    assert list(table["known"].fillna("")) == ["configured", "linear_probe", ""]
    assert table["weight_decay"].isin([0.0, 0.1, 0.01]).all()
    assert math.isnan(table["body_lr"][1])
    assert table["method"][2] in ("full", "norm") or table["depth"][2] == 3
    assert (table["started"] < table["finished"]).all()
    assert table["started"].min() == 0
    assert (table["images"] == 16).all()
    assert table["worker"].nunique() == 1


def test_a_study_whose_time_is_up_ends_with_one_trial(toy_artifacts: Artifacts, config: Make) -> None:
    timed = config(trials=6, recipe={"epochs": 2})
    set_deadline(open_study(Trials(timed, toy_artifacts), toy_artifacts.studies), 0)
    _, study = run(timed, toy_artifacts)
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE]


def test_what_a_smaller_total_gives_a_larger_study_gives_too(toy_artifacts: Artifacts, config: Make) -> None:
    trials, study = run(config(trials=2), toy_artifacts)
    before = chosen(trials, study)
    run(config(trials=4), toy_artifacts)
    assert chosen(trials, study) == before


@pytest.mark.slow
@pytest.mark.parametrize("validation", [ValidationName.holdout, ValidationName.kfold])
def test_two_workers_try_what_one_does(
    validation: ValidationName, toy_artifacts: Artifacts, config: Make, tmp_path: Path
) -> None:
    settings = {"trials": 6, "validation": validation, "folds": 2, "known": ["linear_probe"]}
    _, alone = run(config(**settings, study="alone"), toy_artifacts)
    _, together = run(config(**settings, study="together", workers=2), toy_artifacts)
    tried = [[(trial.params, trial.value) for trial in counted(study)] for study in (alone, together)]
    assert tried[0] == tried[1]
    assert len(tried[0]) == 6


def test_what_mistakes_cost_is_part_of_a_recipe_that_is_rewarded_by_it(
    toy_artifacts: Artifacts, config: Make, tmp_path: Path
) -> None:
    table = tmp_path / "costs.csv"
    table.write_text("true,down,across\ndown,0,5\nacross,1,0\n")

    def trials(**recipe: Any) -> Trials:
        made = config()
        costs = replace(made.evaluate, costs=str(table))
        return Trials(
            replace(made, finetune=replace(made.finetune, epochs=2, **recipe), evaluate=costs), toy_artifacts
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
