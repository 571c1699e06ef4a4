"""The depth curve, end to end on toy pictures: trials at every depth, fresh seeds, evidence, an answer."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
import pytest
import tests_trials
from conftest import write_toy_artifacts

from thawline import tracking
from thawline.artifacts import MODEL, RECIPE, TRIALS, Artifacts, read_json
from thawline.config.errors import UserError
from thawline.config.sections import Config, Contender, Finetune, Goal, ValidationName
from thawline.data.store import open_store
from thawline.depth_curve import COLUMNS, read_curve
from thawline.models.checkpoint import load_model
from thawline.models.inference import logits, worth
from thawline.search.search import search
from thawline.search.space.depths import usable_methods
from thawline.search.study.study import open_study
from thawline.search.trial.fresh_seeds import Seeds
from thawline.search.trial.outcomes import Outcome
from thawline.search.trial.validation import Validating
from thawline.tracking.connection import connected
from thawline.training.batches import batches
from thawline.training.history import TrainingDivergedError

SEEDS = 2
DEPTHS = [0, 2]


def config_of(folder: Path, **changes: Any) -> Config:
    settings = {"depths": DEPTHS, "trials_per_depth": 2, "seeds_per_depth": SEEDS, "folds": 2}
    runs = f"sqlite:///{folder / 'mlflow.db'}"
    return replace(tests_trials.config_of(runs, **{"goal": Goal.depth_curve} | settings | changes), seed=3)


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


@dataclass
class End:
    """A project after a search, and with which seed and which repetition of the cross-validation each of its
    trainings was asked for."""

    root: Path
    trained: list[tuple[int, int]]


@pytest.fixture(scope="module")
def end(beginning: Path, tmp_path_factory: pytest.TempPathFactory) -> End:
    root = shutil.copytree(beginning, tmp_path_factory.mktemp("end") / "project")
    with trainings() as trained:
        search(config_of(root), Artifacts.under(root))
    return End(root, trained)


@pytest.fixture
def project(beginning: Path, tmp_path: Path) -> Artifacts:
    """A copy of the project before a search."""
    return Artifacts.under(shutil.copytree(beginning, tmp_path / "project"))


@pytest.fixture
def searched(end: End, tmp_path: Path) -> Artifacts:
    """A copy of the project after a search."""
    return Artifacts.under(shutil.copytree(end.root, tmp_path / "searched"))


def found_in(artifacts: Artifacts) -> tuple[dict, pd.DataFrame, dict]:
    """recipe.json, the curve and the recommendation."""
    folder = artifacts.stage("search", "finetuned")
    evidence = folder / "evidence"
    return (
        read_json(folder / RECIPE),
        read_curve(evidence / "depth_curve.csv"),
        read_json(evidence / "recommendation.json"),
    )


class StoppedError(BaseException):
    """As when a process is killed between two trials."""


Fails = Callable[[int, int], bool]


@contextmanager
def trainings(at_most: int | None = None, fails: Fails = lambda *_: False) -> Iterator[list]:
    """Note each training's seed and repetition. One more than `at_most` kills the process; one diverges whose
    depth and seed are among those that it `fails` for."""
    whole, done = Validating.outcome, list[tuple[int, int]]()

    def outcome(self: Validating, recipe: Finetune, seed: int, repeat: int = 0, **more: object) -> Outcome:
        if len(done) == at_most:
            raise StoppedError
        done.append((seed, repeat))
        if fails(int(recipe.depth), seed):
            raise TrainingDivergedError("the loss became NaN")
        return whole(self, recipe, seed, repeat, **more)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Validating, "outcome", outcome)
        yield done


def is_complete(artifacts: Artifacts, trials: int, pictures: int, seeds: int = SEEDS) -> None:
    """Every depth has its points, the recommendation says why, and the recipe is the best trial there."""
    recipe, curve, recommendation = found_in(artifacts)
    assert tuple(curve.columns) == COLUMNS
    assert list(curve["depth"]) == DEPTHS
    assert list(curve["unit"]) == [None, "blocks.0"]
    assert set(curve["n_seeds"]) == {seeds}
    assert curve["val_mean"].between(curve["val_low"], curve["val_high"]).all()
    assert curve[["test_mean", "test_low", "test_high"]].isna().all(axis=None)
    assert (curve["trainable_parameters"].diff()[1:] < 0).all()
    assert (curve["seconds"] > 0).all()

    assert recommendation["depth"] in DEPTHS
    assert set(recommendation["indistinguishable_depths"]) <= set(DEPTHS)
    assert recommendation["pictures"] == pictures

    assert recipe["depth"] == recommendation["depth"]
    table = pd.read_csv(artifacts.stage("search", "finetuned") / TRIALS)
    there = table[table["depth"] == recipe["depth"]]
    best = there.sort_values(["value", "val_loss"], ascending=[False, True]).iloc[0]
    assert recipe["selected"]["trial"] == best["number"]
    assert recipe["recipe"]["head_lr"] == pytest.approx(best["head_lr"])
    corrected = recipe["selected"]["corrected"]
    assert 0 <= corrected["low"] <= corrected["mean"] <= corrected["high"] <= 1
    assert len(table) == trials * len(DEPTHS)


def test_the_evidence_is_complete_without_the_test_split(end: End) -> None:
    artifacts = Artifacts.under(end.root)
    is_complete(artifacts, trials=2, pictures=16)
    assert "16 validation pictures" in found_in(artifacts)[2]["reason"]


def test_trials_share_a_seed_and_fresh_trainings_have_their_own(end: End) -> None:
    trials, fresh = end.trained[: 2 * len(DEPTHS)], end.trained[2 * len(DEPTHS) :]
    assert set(trials) == {(3999, 0)}
    assert sorted(fresh) == sorted([(3500, 0), (3501, 1)] * len(DEPTHS))


@pytest.mark.slow
def test_folds_leave_the_same_evidence_of_all_pictures(project: Artifacts) -> None:
    folded = {"validation": ValidationName.kfold, "trials_per_depth": 1, "seeds_per_depth": 1}
    search(config_of(project.root, **folded), project)
    is_complete(project, trials=1, pictures=32, seeds=1)
    told = "32 pictures, validated by 2-fold cross-validation"
    assert told in found_in(project)[2]["reason"]


def test_every_seed_leaves_a_model_that_gives_the_validation_accuracy(end: End) -> None:
    artifacts = Artifacts.under(end.root)
    val = open_store(artifacts.data("target")).part("val")
    models = artifacts.stage("search", "finetuned") / "evidence" / "models"
    for row in found_in(artifacts)[1].itertuples():
        folder = models / f"depth_{row.depth}"
        base = artifacts.stage("replace_head") / MODEL
        networks = [
            load_model(folder / f"seed_{seed}.safetensors", folder / f"card_seed_{seed}.json", base)[0]
            for seed in range(SEEDS)
        ]
        accuracy = np.mean([worth(*logits(network, batches(val, 256), "cpu"))[0] for network in networks])
        assert accuracy == pytest.approx(row.val_mean, abs=1e-6)
    frozen, whole = (models / f"depth_{depth}" / "seed_0.safetensors" for depth in (2, 0))
    assert frozen.stat().st_size < whole.stat().st_size  # what is frozen is not written again


@pytest.mark.slow
@pytest.mark.parametrize(
    "killed_after",
    [
        pytest.param(2, marks=pytest.mark.slow, id="among the trials"),
        pytest.param(4, marks=pytest.mark.slow, id="between the studies"),
        pytest.param(5, id="among the seeds"),
    ],
)
def test_interrupted_and_run_again_it_comes_to_the_same(
    project: Artifacts, end: End, killed_after: int
) -> None:
    config = config_of(project.root)
    with trainings(at_most=killed_after), pytest.raises(StoppedError):
        search(config, project)
    with trainings() as missing:
        search(config, project)
    assert len(missing) == 8 - killed_after
    (recipe, curve, recommendation), undisturbed = found_in(project), found_in(Artifacts.under(end.root))
    assert (recipe, recommendation) == (undisturbed[0], undisturbed[2])
    pd.testing.assert_frame_equal(curve.drop(columns="seconds"), undisturbed[1].drop(columns="seconds"))


def by_hand(artifacts: Artifacts) -> Artifacts:
    return Artifacts.under(artifacts.root, "12345678")


def test_a_finished_search_is_found_again_without_a_training(
    searched: Artifacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The network is looked through once for both studies, and by hand the reports are written too."""
    looked: list[object] = []

    def looking(*arguments: Any) -> dict[int, tuple[str, ...]]:
        looked.append(arguments)
        return usable_methods(*arguments)

    monkeypatch.setattr("thawline.search.trial.trials.usable_methods", looking)
    artifacts = by_hand(searched)
    with trainings(at_most=0):
        search(config_of(searched.root), artifacts)
    assert len(looked) == 1
    first, again = found_in(searched), found_in(artifacts)
    assert (first[0], first[2]) == (again[0], again[2])
    pd.testing.assert_frame_equal(first[1], again[1])
    # in the pipeline they are left to evaluate
    assert not (searched.root / "reports").exists()
    evidence = artifacts.stage("search", "finetuned") / "evidence"
    for name in ("depth_curve.csv", "recommendation.json"):
        assert (artifacts.reports / name).read_bytes() == (evidence / name).read_bytes()


@pytest.mark.slow
def test_more_seeds_are_added_to_those_there_are_and_one_that_fails_is_missing_and_said(
    searched: Artifacts,
) -> None:
    with trainings(fails=lambda depth, _: depth == 2) as added:
        search(config_of(searched.root, seeds_per_depth=SEEDS + 1), searched)
    assert added == [(3502, 2)] * len(DEPTHS)
    _, curve, recommendation = found_in(searched)
    assert list(curve["n_seeds"]) == [SEEDS + 1, SEEDS]
    assert "Depth 2 was compared with fewer seeds than the others" in recommendation["reason"]


def seeds_of(config: Config, artifacts: Artifacts) -> tuple[Seeds, optuna.Study]:
    seeds = Seeds(config, artifacts)
    return seeds, open_study(seeds, artifacts.studies)


def test_fresh_seeds_train_the_winners_recipe(end: End) -> None:
    seeds, study = seeds_of(config_of(end.root), Artifacts.under(end.root))
    for winner in seeds.winners:
        finished = seeds.finished(study)[winner.depth]
        assert [trial.user_attrs["seed"] for trial in finished] == list(range(SEEDS))
        for trial in finished:
            assert trial.params == winner.trial.params
            assert seeds.trials.recipe(trial) == winner.recipe


@pytest.mark.slow
def test_a_depth_at_which_everything_failed_is_left_out_and_named(project: Artifacts) -> None:
    with trainings(fails=lambda depth, _: depth == 2):
        search(config_of(project.root, trials_per_depth=1, seeds_per_depth=1), project)
    _, curve, recommendation = found_in(project)
    assert list(curve["depth"]) == [0]
    assert "Depth 2 was not compared: everything tried there failed." in recommendation["reason"]


@pytest.mark.parametrize(
    ("fails", "what"),
    [(lambda *_: True, "trials"), (lambda _, seed: seed != 3999, "fresh seeds")],
    ids=["trials", "fresh seeds"],
)
def test_where_everything_fails_it_says_what_to_do(project: Artifacts, fails: Fails, what: str) -> None:
    message = rf"(?s)all \d+ {what} of finetuned failed.*the loss became NaN.*lower the ends of search\.space"
    settings = {"depths": [2], "trials_per_depth": 1, "seeds_per_depth": 1}
    with trainings(fails=fails), pytest.raises(UserError, match=message):
        search(config_of(project.root, **settings), project)


@pytest.mark.slow
def test_outcomes_that_are_gone_are_named(searched: Artifacts) -> None:
    config = config_of(searched.root)
    seeds, _ = seeds_of(config, searched)
    (seeds.folder / "depth_2" / "1.npz").unlink()
    with pytest.raises(UserError, match=r"(?s)depth_2 lacks what seed 1 came to.*search\.study=another_name"):
        search(config, searched)


def test_without_a_search_a_former_curve_goes_with_its_models(searched: Artifacts) -> None:
    search(config_of(searched.root, enabled=False), searched)
    recipe, curve, recommendation = found_in(searched)
    assert tuple(curve.columns) == COLUMNS
    assert curve.empty
    assert (recommendation["depth"], recommendation["unit"]) == (recipe["depth"], recipe["unit"])
    assert recommendation["indistinguishable_depths"] == []
    assert "No search was made" in recommendation["reason"]
    assert not list((searched.stage("search", "finetuned") / "evidence").rglob("*.safetensors"))


def test_the_reports_are_of_the_fine_tuned_contender(project: Artifacts) -> None:
    artifacts = by_hand(project)
    search(config_of(project.root, contender=Contender.linear_probe, enabled=False), artifacts)
    assert (artifacts.stage("search", "linear_probe") / "evidence" / "recommendation.json").exists()
    assert not artifacts.reports.exists()


def test_seeds_are_runs_below_the_study(end: End) -> None:
    tracking.connect(config_of(end.root).tracking.uri, "thawline", end.root)
    runs = connected().client.search_runs([connected().experiment_id])
    assert len({run.data.tags.get("mlflow.parentRunId") for run in runs} - {None}) == 1
    names = {run.info.run_name for run in runs if run.info.run_name.startswith("depth ")}
    assert names == {f"depth {depth} seed {seed}" for depth in DEPTHS for seed in range(SEEDS)}
