"""The depth curve, end to end on toy pictures: trials at every depth, fresh seeds, evidence, an answer."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
import pytest
from conftest import write_toy_artifacts

from thawline import tracking
from thawline.artifacts import MODEL, RECIPE, TRIALS, Artifacts, read_json
from thawline.config.errors import UserError
from thawline.config.sections import (
    Config,
    Contender,
    DataSetName,
    Evaluate,
    Finetune,
    Goal,
    PrunerName,
    SamplerName,
    Search,
    Space,
    Target,
    Trainer,
    ValidationName,
)
from thawline.depth_curve import COLUMNS, read_curve
from thawline.models.checkpoint import load_model
from thawline.search.search import search
from thawline.search.trial.fresh_seeds import Seeds
from thawline.search.trial.outcomes import Outcome
from thawline.search.trial.validation import Validating

SEEDS = 2
DEPTHS = [0, 2]


def config_of(folder: Path, validation: ValidationName = ValidationName.holdout, **changes: object) -> Config:
    space = {name: changes.pop(name) for name in ("depths", "head_lr", "body_lr") if name in changes}
    settings = {
        "goal": Goal.depth_curve,
        "sampler": SamplerName.random,
        "pruner": PrunerName.none,
        "trials_per_depth": 2,
        "seeds_per_depth": SEEDS,
        "validation": validation,
        "folds": 2,
    }
    config = Config(
        contenders=[changes.pop("contender", Contender.finetuned)],  # type: ignore[list-item]
        target=Target(dataset=DataSetName.digits),
        trainer=Trainer(accelerator="cpu", threads=1),
        finetune=Finetune(epochs=1, batch_size=8, body_lr=1e-2, depth=1),
        search=Search(**settings | changes, space=Space(**{"depths": DEPTHS, **space})),  # type: ignore[arg-type]
        evaluate=Evaluate(resamples=100),
    )
    config.tracking.uri = f"sqlite:///{folder / 'mlflow.db'}"
    return config


@pytest.fixture(autouse=True, scope="module")
def _same_code_and_no_plots() -> Iterator[None]:
    """A study goes on with the code it began with: what is edited while tests run is no other code."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("thawline.search.trial.trials.code_identity", lambda *_, **__: "code")
        # drawn in tests of their own
        patched.setattr("thawline.search.search.log_plots", lambda *_: None)
        yield


@pytest.fixture(scope="module")
def beginning(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project as after replace_head, in which there is no test split to be opened."""
    artifacts = write_toy_artifacts(tmp_path_factory.mktemp("beginning"))
    shutil.rmtree(artifacts.data_output("test"))
    tracking.connect(config_of(artifacts.root).tracking.uri, "thawline", artifacts.root)
    return artifacts.root


@pytest.fixture(scope="module")
def end(beginning: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same project after a search."""
    root = shutil.copytree(beginning, tmp_path_factory.mktemp("end") / "project")
    search(config_of(root), Artifacts.under(root))
    return root


@pytest.fixture
def project(beginning: Path, tmp_path: Path) -> Artifacts:
    """A copy of the project before a search."""
    return Artifacts.under(shutil.copytree(beginning, tmp_path / "project"))


@pytest.fixture
def searched(end: Path, tmp_path: Path) -> Artifacts:
    """A copy of the project after a search."""
    return Artifacts.under(shutil.copytree(end, tmp_path / "searched"))


def found_in(artifacts: Artifacts) -> tuple[dict, pd.DataFrame, dict]:
    """recipe.json, the curve and the recommendation."""
    folder = artifacts.stage("search", "finetuned")
    evidence = folder / "evidence"
    return (
        read_json(folder / RECIPE),
        read_curve(evidence / "depth_curve.csv"),
        read_json(evidence / "recommendation.json"),
    )


def seeds_used(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """The seed and the repetition of the cross-validation of every training to come."""
    used: list[tuple[int, int]] = []
    whole = Validating.outcome

    def outcome(self: Validating, recipe: Finetune, seed: int, repeat: int = 0, **more: object) -> Outcome:
        used.append((seed, repeat))
        return whole(self, recipe, seed, repeat, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(Validating, "outcome", outcome)
    return used


@pytest.mark.parametrize("validation", [ValidationName.holdout, ValidationName.kfold])
def test_the_evidence_is_complete_without_the_test_split(
    project: Artifacts, validation: ValidationName, monkeypatch: pytest.MonkeyPatch
) -> None:
    used = seeds_used(monkeypatch)
    search(replace(config_of(project.root, validation), seed=3), project)
    trials, fresh = used[: 2 * len(DEPTHS)], used[2 * len(DEPTHS) :]
    assert set(trials) == {(3999, 0)}
    assert sorted(fresh) == sorted([(3500, 0), (3501, 1)] * len(DEPTHS))

    recipe, curve, recommendation = found_in(project)
    assert tuple(curve.columns) == COLUMNS
    assert list(curve["depth"]) == DEPTHS
    assert list(curve["unit"]) == [None, "blocks.0"]
    assert set(curve["n_seeds"]) == {SEEDS}
    assert curve["val_mean"].between(curve["val_low"], curve["val_high"]).all()
    assert curve[["test_mean", "test_low", "test_high"]].isna().all(axis=None)
    assert (curve["trainable_parameters"].diff()[1:] < 0).all()
    assert (curve["seconds"] > 0).all()

    assert recommendation["depth"] in DEPTHS
    assert set(recommendation["indistinguishable_depths"]) <= set(DEPTHS)
    images = 16 if validation is ValidationName.holdout else 32
    assert recommendation["pictures"] == images
    kind = "16 validation pictures" if images == 16 else "32 pictures, validated by 2-fold cross-validation"
    assert kind in recommendation["reason"]

    assert recipe["depth"] == recommendation["depth"]
    trials = pd.read_csv(project.stage("search", "finetuned") / TRIALS)
    there = trials[trials["depth"] == recipe["depth"]]
    best = there.sort_values(["value", "val_loss"], ascending=[False, True]).iloc[0]
    assert recipe["selected"]["trial"] == best["number"]
    assert recipe["recipe"]["head_lr"] == pytest.approx(best["head_lr"])
    corrected = recipe["selected"]["corrected"]
    assert 0 <= corrected["low"] <= corrected["mean"] <= corrected["high"] <= 1
    assert len(trials) == 2 * len(DEPTHS)


def test_every_seed_leaves_a_model_that_gives_the_validation_accuracy(searched: Artifacts) -> None:
    from thawline.data.store import open_store
    from thawline.models.inference import outcomes
    from thawline.training.batches import batches

    _, curve, _ = found_in(searched)
    val = open_store(searched.data("target")).part("val")
    for row in curve.itertuples():
        folder = searched.stage("search", "finetuned") / "evidence" / "models" / f"depth_{row.depth}"
        base = searched.stage("replace_head") / MODEL
        networks = [
            load_model(folder / f"seed_{seed}.safetensors", folder / f"card_seed_{seed}.json", base)[0]
            for seed in range(SEEDS)
        ]
        accuracy = np.mean([outcomes(network, batches(val, 256), "cpu")[0] for network in networks])
        assert accuracy == pytest.approx(row.val_mean, abs=1e-6)
    frozen, whole = (
        searched.stage("search", "finetuned") / f"evidence/models/depth_{depth}/seed_0.safetensors"
        for depth in (2, 0)
    )
    assert frozen.stat().st_size < whole.stat().st_size  # what is frozen is not written again


class StoppedError(BaseException):
    """As when a process is killed between two trials."""


def stop_after(trainings: int, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, done = Validating.outcome, 0

    def outcome(self: Validating, *arguments: object, **named: object) -> Outcome:
        nonlocal done
        if done == trainings:
            raise StoppedError
        done += 1
        return whole(self, *arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(Validating, "outcome", outcome)


@pytest.mark.parametrize(
    "trainings",
    [
        pytest.param(2, marks=pytest.mark.slow, id="among the trials"),
        pytest.param(4, id="between the studies"),
        pytest.param(5, marks=pytest.mark.slow, id="among the seeds"),
    ],
)
def test_interrupted_and_run_again_it_comes_to_the_same(
    project: Artifacts, searched: Artifacts, monkeypatch: pytest.MonkeyPatch, trainings: int
) -> None:
    config = config_of(project.root)
    with monkeypatch.context() as patched:
        stop_after(trainings, patched)
        with pytest.raises(StoppedError):
            search(config, project)
    search(config, project)
    (recipe, curve, recommendation), undisturbed = found_in(project), found_in(searched)
    assert (recipe, recommendation) == (undisturbed[0], undisturbed[2])
    pd.testing.assert_frame_equal(curve.drop(columns="seconds"), undisturbed[1].drop(columns="seconds"))


def test_nothing_is_trained_twice(searched: Artifacts, monkeypatch: pytest.MonkeyPatch) -> None:
    first = found_in(searched)
    shutil.rmtree(searched.stage_output("search"))  # as DVC does before it runs a stage again
    stop_after(0, monkeypatch)
    search(config_of(searched.root), searched)
    again = found_in(searched)
    assert (first[0], first[2]) == (again[0], again[2])
    pd.testing.assert_frame_equal(first[1], again[1])


def test_the_network_is_looked_through_once_for_both_studies(
    searched: Artifacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    from thawline.search.space import depths as allowed

    looked: list[object] = []

    def usable_methods(*arguments: Any) -> dict[int, tuple[str, ...]]:
        looked.append(arguments)
        return allowed.usable_methods(*arguments)

    monkeypatch.setattr("thawline.search.trial.trials.usable_methods", usable_methods)
    search(config_of(searched.root), searched)
    assert len(looked) == 1


def test_more_seeds_are_added_to_those_there_are(
    searched: Artifacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_after(len(DEPTHS), monkeypatch)  # one more at each depth
    search(config_of(searched.root, seeds_per_depth=SEEDS + 1), searched)
    assert set(found_in(searched)[1]["n_seeds"]) == {SEEDS + 1}


def seeds_of(config: Config, artifacts: Artifacts) -> tuple[Seeds, optuna.Study]:
    from thawline.search.study.study import open_study

    seeds = Seeds(config, artifacts)
    return seeds, open_study(seeds, artifacts.studies)


def test_fresh_seeds_train_the_winners_recipe(searched: Artifacts) -> None:
    seeds, study = seeds_of(config_of(searched.root), searched)
    for winner in seeds.winners:
        finished = seeds.finished(study)[winner.depth]
        assert [trial.user_attrs["seed"] for trial in finished] == list(range(SEEDS))
        for trial in finished:
            assert trial.params == winner.trial.params
            assert seeds.trials.recipe(trial) == winner.recipe


def fails_at(depth: int, monkeypatch: pytest.MonkeyPatch, only: Callable[[int], bool]) -> None:
    """Every training at `depth` diverges whose seed is one of `only`."""
    from thawline.training.history import TrainingDivergedError

    whole = Validating.outcome

    def outcome(self: Validating, recipe: Finetune, seed: int, **more: object) -> Outcome:
        if recipe.depth == depth and only(seed):
            raise TrainingDivergedError("the loss became NaN")
        return whole(self, recipe, seed, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(Validating, "outcome", outcome)


def test_a_depth_at_which_everything_failed_is_left_out_and_named(
    project: Artifacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    fails_at(2, monkeypatch, only=lambda _: True)
    search(config_of(project.root), project)
    _, curve, recommendation = found_in(project)
    assert list(curve["depth"]) == [0]
    assert "Depth 2 was not compared: everything tried there failed." in recommendation["reason"]


def test_a_seed_that_failed_is_missing_and_said(project: Artifacts, monkeypatch: pytest.MonkeyPatch) -> None:
    fails_at(2, monkeypatch, only=lambda seed: seed == 501)
    search(config_of(project.root), project)
    _, curve, recommendation = found_in(project)
    assert list(curve["n_seeds"]) == [SEEDS, SEEDS - 1]
    assert "Depth 2 was compared with fewer seeds than the others" in recommendation["reason"]


@pytest.mark.parametrize(
    ("failing", "what"), [(lambda _: True, "trials"), (lambda seed: seed < 900, "fresh seeds")]
)
def test_where_everything_fails_it_says_what_to_do(
    project: Artifacts, monkeypatch: pytest.MonkeyPatch, failing: Callable[[int], bool], what: str
) -> None:
    fails_at(2, monkeypatch, only=failing)
    message = rf"(?s)all \d+ {what} of finetuned failed.*the loss became NaN.*lower the ends of search\.space"
    with pytest.raises(UserError, match=message):
        search(config_of(project.root, depths=[2]), project)


def test_outcomes_that_are_gone_are_named(searched: Artifacts) -> None:
    config = config_of(searched.root)
    seeds, _ = seeds_of(config, searched)
    (seeds.folder / "depth_2" / "1.npz").unlink()
    with pytest.raises(UserError, match=r"(?s)depth_2 lacks what seed 1 came to.*search\.study=another_name"):
        search(config, searched)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"enabled": False}, "The search was off"),
        ({"goal": Goal.recipe, "trials": 2}, "the best of 2 trials on 16 validation pictures"),
        ({"goal": Goal.recipe, "trials": 1}, "that of the only trial on 16 validation pictures"),
    ],
)
def test_without_a_curve_the_evidence_says_so(project: Artifacts, changes: dict, reason: str) -> None:
    search(config_of(project.root, **changes), project)
    recipe, curve, recommendation = found_in(project)
    assert tuple(curve.columns) == COLUMNS
    assert curve.empty
    assert (recommendation["depth"], recommendation["unit"]) == (recipe["depth"], recipe["unit"])
    assert recommendation["indistinguishable_depths"] == []
    assert reason in recommendation["reason"]
    assert "search=depth_curve would tell" in recommendation["reason"]


def test_models_of_a_former_curve_are_removed(searched: Artifacts) -> None:
    search(config_of(searched.root, enabled=False), searched)
    assert not list((searched.stage("search", "finetuned") / "evidence").rglob("*.safetensors"))


def by_hand(artifacts: Artifacts) -> Artifacts:
    return Artifacts.under(artifacts.root, "12345678")


def test_by_hand_the_reports_are_written_too(searched: Artifacts) -> None:
    artifacts = by_hand(searched)
    search(config_of(searched.root), artifacts)
    assert not (searched.root / "reports").exists()
    evidence = artifacts.stage("search", "finetuned") / "evidence"
    for name in ("depth_curve.csv", "recommendation.json"):
        assert (artifacts.reports / name).read_bytes() == (evidence / name).read_bytes()


def test_the_reports_are_of_the_fine_tuned_contender(project: Artifacts) -> None:
    artifacts = by_hand(project)
    search(config_of(project.root, contender=Contender.linear_probe), artifacts)
    assert (artifacts.stage("search", "linear_probe") / "evidence" / "recommendation.json").exists()
    assert not artifacts.reports.exists()


def test_in_the_pipeline_the_reports_are_left_to_evaluate(searched: Artifacts) -> None:
    assert not searched.reports.exists()


def test_seeds_are_runs_below_the_study(searched: Artifacts) -> None:
    from mlflow import MlflowClient

    config = config_of(searched.root)
    client = MlflowClient(config.tracking.uri)
    experiment = client.get_experiment_by_name(config.tracking.experiment)
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    assert len({run.data.tags.get("mlflow.parentRunId") for run in runs} - {None}) == 1
    names = {run.info.run_name for run in runs if run.info.run_name.startswith("depth ")}
    assert names == {f"depth {depth} seed {seed}" for depth in DEPTHS for seed in range(SEEDS)}
