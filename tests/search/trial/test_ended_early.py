"""Trials that a limit, the pruner, a loss without end or too little memory ends, and what is said of them."""

import re
from dataclasses import replace

import optuna
import pytest
from optuna.trial import TrialState
from tests_trials import Make, run

from thawline.artifacts import CARD, MODEL, Artifacts
from thawline.config.choices import PrunerName
from thawline.config.errors import UserError
from thawline.config.sections import Limit, Range, Space
from thawline.models.card import read_card
from thawline.models.checkpoint import build_random, save_model
from thawline.search.results.chosen import chosen
from thawline.search.study.study import RUN, counted
from thawline.tracking.connection import connected


def test_too_many_parameters_are_pruned_before_training(
    project: Artifacts, config: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def untrained(*_: object, **__: object) -> None:
        raise AssertionError("was trained")

    monkeypatch.setattr("thawline.training.run.Training.run", untrained)
    limit = Limit(parameters=20)
    trials, study = run(config(trials=2, limit=limit, depths=[0]), project)
    for trial in counted(study):
        count = trial.user_attrs["trainable_parameters"]
        assert trial.state is TrialState.PRUNED
        assert trial.constraints == {"parameters": count - 20}
        told = f"would train {count:,} parameters, search.limit.parameters = 20"
        assert trial.user_attrs["reason"] == told
    with pytest.raises(UserError, match=r"(?s)all 2 trials of finetuned failed or were pruned.*limit\.param"):
        chosen(trials, study)


def test_what_keeps_the_limit_is_chosen(project: Artifacts, config: Make) -> None:
    limited = config(trials=2, limit=Limit(parameters=20), known=["linear_probe"])
    trials, study = run(limited, project)
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
    limit: Limit, reason: str, project: Artifacts, config: Make
) -> None:
    _, study = run(config(trials=1, limit=limit, recipe={"epochs": 4}), project)
    (trial,) = counted(study)
    assert trial.state is TrialState.PRUNED
    assert trial.user_attrs["epochs"] < 4
    (value,) = trial.constraints.values()
    assert value > 0
    assert re.fullmatch(reason, trial.user_attrs["reason"])


def test_a_diverged_trial_fails_with_its_reason(project: Artifacts, config: Make) -> None:
    wild = Space(depths=[0], head_lr=Range(1e35, 1e36), body_lr=Range(1e35, 1e36))
    _, study = run(config(trials=1, space=wild), project)
    (trial,) = counted(study)
    assert trial.state is TrialState.FAIL
    assert "the training loss became" in trial.user_attrs["reason"]
    stored = connected().client.get_run(trial.user_attrs[RUN])
    assert stored.data.tags["state"] == "failed"


def test_a_trial_without_memory_takes_smaller_parts(toy_artifacts: Artifacts, config: Make) -> None:
    folder = toy_artifacts.stage_output("replace_head")
    card = replace(read_card(folder / CARD), architecture="tests_networks.Hungry", options={"memory": True})
    save_model(folder / MODEL, folder / CARD, build_random(card), card)
    # at depth 0, because less memory is needed where the frozen part is computed beforehand
    trials, study = run(config(trials=1, recipe={"depth": 0}), toy_artifacts)
    (trial,) = counted(study)
    assert (trial.state, trial.user_attrs["accumulate"]) == (TrialState.COMPLETE, 2)
    assert trials.recipe(trial).batch_size == 8


def test_a_hopeless_trial_is_pruned_and_says_when(
    project: Artifacts, config: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(optuna.Trial, "should_prune", lambda _: True)
    _, study = run(config(trials=1, pruner=PrunerName.median, recipe={"epochs": 3}), project)
    (trial,) = counted(study)
    assert trial.user_attrs["reason"] == "not promising after 1 of 3 epochs (median)"
    assert list(trial.intermediate_values) == [0]
    stored = connected().client.get_run(trial.user_attrs[RUN])
    assert (stored.data.tags["state"], "val_accuracy" in stored.data.metrics) == ("pruned", True)
