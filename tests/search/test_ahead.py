"""Trials that are known beforehand and trained at once come to what each comes to alone."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState
from tests_trials import run

from thawline.artifacts import Artifacts
from thawline.config.choices import (
    Goal,
    Mix,
    Objective,
    OptimizerName,
    PrunerName,
    SamplerName,
    StackUse,
    ValidationName,
)
from thawline.config.sections import (
    Config,
    Contender,
    Finetune,
    Limit,
    Precision,
    PrefixCacheUse,
    Range,
    Search,
    Space,
    Trainer,
)
from thawline.search import ahead
from thawline.search.foreseen import LARGEST, foreseeable, stacks
from thawline.search.study import counted
from thawline.search.task import PLACE
from thawline.search.validating import Validating
from thawline.search.workers import run_study
from thawline.training.at_once import AtOnce, Member, train_at_once
from thawline.training.once import Training

PROBE = Finetune(epochs=2, batch_size=8, head_lr=1e-2, depth="all")
Make = Callable[..., Config]


@pytest.fixture
def config(runs: str) -> Make:
    """By settings of the search: a random one of linear probes unless they say otherwise."""

    def made(contender: Contender = Contender.linear_probe, recipe: Any = None, **search: Any) -> Config:
        quick = {"trials": 4, "sampler": SamplerName.random, "pruner": PrunerName.none, "known": []}
        found = Config(
            contender=contender,
            trainer=Trainer(accelerator="cpu", threads=1, prefix_cache=PrefixCacheUse.always),
            finetune=Finetune(**{"epochs": 2, "batch_size": 8, "body_lr": 1e-2, **(recipe or {})}),
            search=Search(**{**quick, **search}),
        )
        found.tracking.uri = runs
        return found

    return made


@pytest.fixture
def done_at_once(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many were trained at once, each time."""
    found: list[int] = []

    def counting(training: Training, members: Sequence[Member]) -> AtOnce | str:
        done = train_at_once(training, members)
        if isinstance(done, AtOnce):
            found.append(len(members))
        return done

    monkeypatch.setattr(ahead, "train_at_once", counting)
    return found


SPACES = {
    "probes": {},
    "a grid": {"sampler": SamplerName.grid, "grid_points": 3},
    "folds": {"validation": ValidationName.kfold, "folds": 2},
    "choices": {"space": Space(choices={"weight_decay": [0.0, 0.1], "epochs": [1, 2]})},
    "depths": {"contender": Contender.finetuned, "stack": StackUse.always, "trials": 6},
    "depths in turn": {
        "contender": Contender.finetuned,
        "stack": StackUse.always,
        "goal": Goal.depth_curve,
        "trials_per_depth": 2,
    },
    "two objectives": {"objective": Objective.accuracy_and_cost},
}


@pytest.mark.parametrize("settings", SPACES.values(), ids=SPACES.keys())
def test_a_study_comes_to_what_it_comes_to_without(
    toy_artifacts: Artifacts, config: Make, done_at_once: list[int], settings: dict[str, Any]
) -> None:
    _, together = run(config(**settings), toy_artifacts)
    assert done_at_once
    done_at_once.clear()
    _, alone = run(config(**{**settings, "stack": StackUse.never}), toy_artifacts)
    assert not done_at_once
    for one, other in zip(counted(together), counted(alone), strict=True):
        assert one.params == other.params
        assert one.values == pytest.approx(other.values)
        assert one.user_attrs["val_loss"] == pytest.approx(other.user_attrs["val_loss"], rel=1e-4)
        for name in ("images", "training_flops", "trainable_parameters", "epochs", "depth", "unit"):
            assert one.user_attrs[name] == other.user_attrs[name]


def test_what_is_foreseen_is_what_trials_try(toy_artifacts: Artifacts, config: Make) -> None:
    space = Space(depths=[0, 1, 3], choices={"epochs": [1, 2]})
    settings = config(Contender.finetuned, stack=StackUse.always, trials=9, space=space)
    trials, study = run(settings, toy_artifacts)
    foreseen = trials._stacks
    for trial in counted(study):
        block = foreseen.get(trial.user_attrs[PLACE])
        assert block is None or trials.recipe(trial) in block
    assert any(foreseen)


def ends(config: Make, artifacts: Artifacts, **settings: Any) -> list[list[tuple[TrialState, int]]]:
    """How each trial ended and after how many epochs, with and without stacks."""
    studies = [run(config(**settings, stack=use), artifacts)[1] for use in (StackUse.auto, StackUse.never)]
    return [[(trial.state, trial.user_attrs["epochs"]) for trial in counted(study)] for study in studies]


def test_a_pruner_sees_each_trial_as_it_would_have(toy_artifacts: Artifacts, config: Make) -> None:
    together, alone = ends(config, toy_artifacts, trials=12, pruner=PrunerName.asha, recipe={"epochs": 8})
    assert together == alone
    assert TrialState.PRUNED in {state for state, _ in together}


def test_one_that_diverges_fails_alone(toy_artifacts: Artifacts, config: Make) -> None:
    recipe = {"optimizer": OptimizerName.sgd, "weight_decay": 1.0, "epochs": 3}
    space = Space(head_lr=Range(1e-3, 1e38))
    together, alone = ends(config, toy_artifacts, trials=6, space=space, recipe=recipe)
    assert together == alone
    assert {state for state, _ in together} == {TrialState.FAIL, TrialState.COMPLETE}


@pytest.fixture
def validating(toy_artifacts: Artifacts, tmp_path: Path) -> Validating:
    from thawline.data.store import open_store

    config = Config(
        trainer=Trainer(accelerator="cpu", threads=1, prefix_cache=PrefixCacheUse.always),
        finetune=PROBE,
        search=Search(validation=ValidationName.holdout),
    )
    store = open_store(toy_artifacts.data("target"))
    return Validating(store, toy_artifacts.stage("replace_head"), config, tmp_path / "prefix")


def test_each_is_handed_out_once_and_then_trained_again(
    validating: Validating, done_at_once: list[int]
) -> None:
    planned = [(PROBE, 1), (replace(PROBE, head_lr=1e-3), 1)]
    first = validating.outcome(*planned[0], together=planned)
    validating.outcome(*planned[1], together=planned)
    assert done_at_once == [2]
    again = validating.outcome(*planned[0], together=planned)
    assert done_at_once == [2, 2]
    assert (first.losses == again.losses).all()


def test_equal_ones_are_handed_out_in_turn(validating: Validating, done_at_once: list[int]) -> None:
    planned = [(PROBE, 1)] * 3
    for each in planned:
        validating.outcome(*each, together=planned)
    assert done_at_once == [3]


def test_only_so_many_stacks_are_remembered(
    validating: Validating, done_at_once: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ahead, "KEPT", 1)
    one, two = ([(replace(PROBE, head_lr=rate), seed) for rate in (1e-2, 1e-3)] for seed in (1, 2))
    for planned in (one, two):
        validating.outcome(*planned[0], together=planned)
    validating.outcome(*two[1], together=two)
    assert len(done_at_once) == 2
    validating.outcome(*one[1], together=one)
    assert len(done_at_once) == 3


@pytest.mark.parametrize("depth", [1, "all"])
def test_half_precision(validating: Validating, depth: int | str) -> None:
    """Stored features are rounded then, and the network is not."""
    trainer = replace(validating.trainer, precision=Precision.bfloat16)
    config = replace(validating.config, trainer=trainer)
    made = Validating(
        validating.store, validating.initial, config, validating.cache and validating.cache.folder
    )
    recipe = replace(PROBE, depth=depth, body_lr=1e-2)
    planned = [(recipe, 1), (replace(recipe, head_lr=1e-3), 1)]
    for each in planned:
        together = made.outcome(*each, together=planned)
        alone = made.outcome(*each)
        assert together.loss == pytest.approx(alone.loss, abs=0.02)


def test_each_has_its_share_of_the_time(toy_artifacts: Artifacts, config: Make) -> None:
    _, study = run(config(), toy_artifacts)
    seconds = [trial.user_attrs["seconds"] for trial in counted(study)]
    assert max(seconds) < 3 * min(seconds)


def test_memory_that_does_not_suffice_for_all_suffices_for_one(
    validating: Validating, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> AtOnce:
        raise RuntimeError("CUDA out of memory")

    monkeypatch.setattr(ahead, "train_at_once", full)
    caplog.set_level(logging.INFO)
    planned = [(PROBE, 1), (replace(PROBE, head_lr=1e-3), 1)]
    outcomes = [validating.outcome(*each, together=planned) for each in planned]
    assert [len(each.history) for each in outcomes] == [2, 2]
    assert "2 trainings are done one after the other: out of memory" in caplog.text


def test_other_errors_are_not_hidden(validating: Validating, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> AtOnce:
        raise RuntimeError("a bug")

    monkeypatch.setattr(ahead, "train_at_once", broken)
    with pytest.raises(RuntimeError, match="a bug"):
        validating.outcome(PROBE, 1, together=[(PROBE, 1), (PROBE, 2)])


def test_seeds_of_a_depth_curve_are_trained_at_once(
    toy_artifacts: Artifacts, config: Make, done_at_once: list[int]
) -> None:
    from thawline.search.seeds import Seeds

    curve = {"goal": Goal.depth_curve, "trials_per_depth": 2, "seeds_per_depth": 3}
    settings = config(Contender.finetuned, space=Space(depths=[1, 3]), recipe={"epochs": 1}, **curve)
    trials, _ = run(settings, toy_artifacts)
    assert done_at_once == [2]
    seeds = Seeds(settings, toy_artifacts, trials)
    study = run_study(Seeds, settings, toy_artifacts, "", "seeds", seeds)
    # dropout: each seed draws numbers of its own
    assert done_at_once == [2]
    assert all((seeds.weights(3, seed)).is_file() for seed in range(3))
    assert len(seeds.finished(study)[3]) == 3


def test_stacks_are_for_one_worker_unless_asked_for() -> None:
    both = [PROBE, replace(PROBE, head_lr=1e-3)]
    assert len(stacks(both, Search(workers=1))) == 2
    assert stacks(both, Search(workers=2)) == {}
    assert len(stacks(both, Search(workers=2, stack=StackUse.always))) == 2


def test_stacks_hold_what_differs_in_rates_alone() -> None:
    others = [replace(PROBE, head_lr=rate) for rate in (1e-3, 1e-4)]
    longer, deeper = replace(PROBE, epochs=9), replace(PROBE, depth=1)
    found = stacks([PROBE, longer, others[0], deeper, others[1], deeper], Search())
    assert found == dict.fromkeys((0, 2, 4), (PROBE, *others))
    assert stacks([deeper, deeper], Search(stack=StackUse.always)) == dict.fromkeys((0, 1), (deeper, deeper))
    assert stacks([PROBE, *others], Search(stack=StackUse.never)) == {}
    assert stacks([replace(PROBE, mix=Mix.mixup)] * 2, Search(stack=StackUse.always)) == {}


def test_no_stack_is_larger_than_allowed() -> None:
    found = stacks([PROBE] * (LARGEST + 2), Search())
    assert {len(block) for block in found.values()} == {LARGEST, 2}


@pytest.mark.parametrize(
    "changes",
    [{"sampler": SamplerName.tpe}, {"minutes": 1.0}, {"limit": Limit(seconds=1.0)}],
)
def test_what_depends_on_other_trials_is_not_foreseen(changes: dict[str, Any]) -> None:
    assert foreseeable(Search(sampler=SamplerName.random))
    assert not foreseeable(Search(**{"sampler": SamplerName.random, **changes}))
