"""Unlabelled pictures teach where a gain is shown; elsewhere they leave nothing behind."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import TRANSFORM, toy_pictures, write_toy_artifacts

from thawline.artifacts import CARD, SUPERVISE, TOLD, Artifacts, read_json
from thawline.config.choices import Phases, ValidationName
from thawline.config.sections import Config, DataSetName, Finetune, Review, Search, Target, Trainer
from thawline.data.store import PSEUDO, Store, open_store, write_store
from thawline.data.supervision import open_training
from thawline.search.trial.outcomes import Outcome
from thawline.search.trial.validation import Validating
from thawline.supervise import unlabelled
from thawline.supervise.supervise import supervise
from thawline.supervise.unlabelled import in_words, self_trained
from thawline.training.finetune import initial_network
from thawline.training.pseudo import relabelled
from thawline.training.run import Training
from thawline.training.solve.choice import MOST_ROWS
from thawline.training.solve.self_training import WEIGHT
from thawline.training.solve.targets import Targets


def config_of() -> Config:
    return Config(
        target=Target(dataset=DataSetName.digits, unlabelled="more"),
        trainer=Trainer(accelerator="cpu", threads=1),
        review=Review(repeats=1),
    )


def with_more(root: Path, count: int = 20) -> Artifacts:
    """Return toy artifacts with so many unlabelled pictures."""
    artifacts = write_toy_artifacts(root)
    images, _ = toy_pictures(count // 2, 7)
    paths = [f"train/{row}.png" for row in range(count)]  # as labelled ones are called, too
    rows = pd.DataFrame({"path": paths}).assign(
        label="", split="unlabelled", group="", content_hash="", width=16, height=16
    )
    write_store(artifacts.data_output("unlabelled"), images, rows, ("across", "down"), TRANSFORM)
    return artifacts


def with_a_gain(root: Path) -> Artifacts:
    """Return artifacts whose unlabelled pictures teach: toy ones gain nothing, so intervals are lifted."""
    artifacts = with_more(root)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(unlabelled, "difference_interval", lambda *_: (0.01, 0.2))
        supervise(config_of(), artifacts)
    return artifacts


def contents(folder: Path) -> dict[str, bytes]:
    files = [each for each in folder.rglob("*") if each.is_file()]
    return {str(each.relative_to(folder)): each.read_bytes() for each in files}


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Artifacts:
    return with_a_gain(tmp_path_factory.mktemp("taught"))


def points(count: int, seed: int, place: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Return positive features of two classes, and their labels."""
    generator = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    rows = 5 + generator.normal(size=(count, 20))
    rows[:, 0] += np.where(labels, 2.5, -2.5)
    rows[:, -1] += place
    return rows, labels


def found_of(more: np.ndarray, labelled: int = 60):  # noqa: ANN201
    rows, labels = points(labelled, 0)
    cuts, others = ({1: each} for each in (rows, more))
    every = np.arange(labelled)
    return self_trained(cuts, others, every, Targets(labels, 2), unknown_share=0.01, repeats=1, seed=0)


def test_foreign_pictures_are_left_out_even_among_good_ones() -> None:
    good, foreign = points(50, 1)[0], points(50, 2, place=60.0)[0]
    found = found_of(np.concatenate([good, foreign]))
    assert len(found.rows) > 45
    assert found.rows.max() < 50
    assert found.unlike == 100 - len(found.rows)
    assert f"{found.unlike} pictures of 100 unlike" in in_words(found, 100, 0.95)


def test_of_foreign_pictures_alone_none_teaches() -> None:
    found = found_of(points(50, 2, place=60.0)[0])
    assert not found.kept(0.05)
    assert (
        in_words(found, 50, 0.95) == "No unlabelled picture teaches: all 50 are unlike the training pictures."
    )


def test_a_gain_is_kept_where_its_interval_is_above_zero() -> None:
    found = found_of(points(400, 1)[0], labelled=12)
    assert found.right is not None
    without, told = found.right.mean(1)
    low, high = found.gain(0.95)
    assert low < told - without < high
    assert low < found.gain(0.3)[0]
    assert found.kept(0.3) == (found.gain(0.3)[0] > 0)
    assert not found.kept(0.9999)
    assert "not above zero" in in_words(found, 400, 0.9999)


def test_of_many_labelled_pictures_as_many_are_asked_as_decide() -> None:
    found = found_of(points(50, 1)[0], labelled=MOST_ROWS + 100)
    assert found.right is not None
    assert found.right.shape == (2, MOST_ROWS)
    assert f"{MOST_ROWS:,} labelled training pictures" in in_words(found, 50, 0.95)


def test_without_a_gain_trainings_see_what_they_would_without(tmp_path: Path) -> None:
    artifacts = with_more(tmp_path)
    supervise(Config(), artifacts)
    before, told = open_training(artifacts), contents(artifacts.stage("supervise", TOLD))
    supervise(config_of(), artifacts)
    said = read_json(artifacts.stage("supervise") / SUPERVISE)
    assert not said["unlabelled"]["kept"]
    assert "No unlabelled picture teaches" in said["sentences"][0]
    after = open_training(artifacts)
    assert after.targets is None
    assert after.fingerprint == before.fingerprint
    assert contents(artifacts.stage("supervise", TOLD)) == told
    assert relabelled(artifacts, after) is None


def test_pictures_that_teach_lie_behind_the_training_pictures_with_their_targets(taught: Artifacts) -> None:
    said = read_json(taught.stage("supervise") / SUPERVISE)
    store, own = open_training(taught), open_store(taught.data("target"))
    assert said["unlabelled"]["kept"]
    assert said["sentences"][0].startswith("Unlabelled pictures teach as well")
    agreed = said["unlabelled"]["agreed"]
    assert len(store) == len(own) + agreed
    assert len(store.teaching()) == 16 + agreed
    for split in ("train", "val"):
        np.testing.assert_array_equal(store.part(split).images, own.part(split).images)
        np.testing.assert_array_equal(store.part(split).labels, own.part(split).labels)
    assert store.targets is not None
    guessed = store.manifest["split"] == PSEUDO
    np.testing.assert_allclose(store.targets[guessed].sum(1), WEIGHT, rtol=1e-6)
    np.testing.assert_array_equal(store.targets[guessed].argmax(1), store.labels[guessed])
    assert not set(store.manifest["path"][guessed]) & set(store.manifest["path"][~guessed])


def test_equal_pictures_leave_equal_bytes_and_nothing_once_none_teach(
    taught: Artifacts, tmp_path: Path
) -> None:
    again = with_a_gain(tmp_path)
    assert contents(again.stage("supervise")) == contents(taught.stage("supervise"))
    supervise(Config(trainer=Trainer(accelerator="cpu", threads=1)), again)
    assert [each.name for each in again.stage("supervise", TOLD).rglob("*") if each.is_file()] == [CARD]
    assert open_training(again).fingerprint == open_store(again.data("target")).fingerprint


class Given(Validating):
    """Notes the pictures that each fold trains on, and trains nothing."""

    def _train(self, _: Finetune, store: Store, *__: object) -> Outcome:
        self.seen = [*getattr(self, "seen", []), store]
        zeros = np.zeros(len(store.part("val")))
        return Outcome(zeros, zeros, [], {}, {}, 0.0, 1, logits=np.zeros((len(zeros), 2)))  # type: ignore[arg-type]


@pytest.fixture
def folded(taught: Artifacts) -> Given:
    config = config_of()
    config.search = Search(folds=2, validation=ValidationName.kfold)
    store = open_training(taught)
    return Given(store, taught.stage("replace_head"), config, relabelled=relabelled(taught, store))


def test_folds_validate_on_labelled_pictures_only_and_all_others_teach(folded: Given) -> None:
    folded.outcome(Finetune(), 0)
    guessed = int((folded.store.manifest["split"] == PSEUDO).sum())
    labelled = set(folded.store.manifest["path"][folded.store.labelled])
    for store, fold in zip(folded.seen, folded.folds(0), strict=True):
        assert len(store.teaching()) == len(fold.train) + guessed
        assert set(store.part("val").manifest["path"]) <= labelled


def test_a_folds_pseudo_labels_know_nothing_of_its_validation_pictures(folded: Given) -> None:
    folded.outcome(Finetune(), 0)
    first, second = (each.targets[each.manifest["split"] == PSEUDO] for each in folded.seen)  # type: ignore[index]
    whole = folded.store.targets[folded.store.manifest["split"] == PSEUDO]  # type: ignore[index]
    assert not np.allclose(first, second)
    assert not np.allclose(first, whole)
    fold = folded.folds(0)[0]
    asked, known = (folded.store.labelled[each] for each in (fold.val, fold.train))
    labels = folded.store.manifest["label"].to_numpy(str).copy()
    labels[asked] = labels[asked][::-1]
    other = replace(folded.store, manifest=folded.store.manifest.assign(label=labels))
    again = folded.relabelled(other.divided(known, asked), known)  # type: ignore[misc]
    np.testing.assert_array_equal(again.targets[again.manifest["split"] == PSEUDO], first)


@pytest.mark.parametrize("depth", ["all", 0])
def test_all_that_teach_are_learnt_from(taught: Artifacts, depth: int | str) -> None:
    recipe = Finetune(depth=depth, epochs=1, phases=Phases.one)
    network, _ = initial_network(recipe, taught.stage("replace_head"), 0)
    store = open_training(taught)
    training = Training(network, recipe, store, config_of().trainer, seed=0, mirror=False)
    assert len(training.pictures.train) == len(store.teaching()) > 16
    training.run()
    assert len(training.outcomes()[0]) == 16
