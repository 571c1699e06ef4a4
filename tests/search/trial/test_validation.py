"""A recipe is worth what it says of pictures it did not learn from, each asked about once."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import log_softmax

from thawline.artifacts import CARD, MODEL, Artifacts, card_beside
from thawline.config.choices import Keep, PrunerName, ValidationName
from thawline.config.errors import UserError
from thawline.config.sections import Config, Finetune, Search, Space, Trainer
from thawline.data.store import Store, open_store, write_store
from thawline.models.card import read_card
from thawline.models.checkpoint import build_random, load_model, save_model
from thawline.models.inference import logits, worth
from thawline.search.trial.validation import Observer, Validating, _per_step, flattered
from thawline.training.batches import batches
from thawline.training.run import Training

RECIPE = Finetune(epochs=2, batch_size=8, head_lr=1e-2, body_lr=1e-2, depth=1)


def config_of(recipe: Finetune = RECIPE, **search: object) -> Config:
    return Config(
        trainer=Trainer(accelerator="cpu", threads=1, devices=2),
        finetune=recipe,
        search=Search(**search),  # type: ignore[arg-type]
    )


class Noting(Observer):
    """Notes all that it is told."""

    def __init__(self) -> None:
        self.noted: list[str] = []
        self.reports: list[tuple[int, float]] = []

    def before(self, training: Training) -> None:
        self.noted.append(f"before {training.trainable_parameters()}")

    def after_epoch(self, row: dict[str, float]) -> None:
        self.noted.append(f"epoch {row['epoch']:.0f}")

    def after(self, epochs: list[dict[str, float]]) -> None:
        self.noted.append(f"after {len(epochs)}")

    def report(self, step: int, accuracy: float) -> None:
        self.reports.append((step, accuracy))


@pytest.fixture
def validating(toy_artifacts: Artifacts) -> Callable[..., Validating]:
    """By settings of the search; two folds unless they say otherwise."""

    def made(recipe: Finetune = RECIPE, **search: object) -> Validating:
        store = open_store(toy_artifacts.data("target"))
        config = config_of(recipe, **{"folds": 2, **search})
        return Validating(store, toy_artifacts.stage("replace_head"), config)

    return made


def in_groups(artifacts: Artifacts) -> Store:
    """The toy target, four pictures of one class in each group, whatever split they are in."""
    folder = artifacts.data_output("target")
    store = open_store(folder)
    place = store.manifest.groupby("label").cumcount()
    manifest = store.manifest.assign(group=store.manifest["label"] + (place // 4).astype(str))
    write_store(folder, np.array(store.images), manifest, store.classes, store.transform)
    return open_store(folder)


def test_a_held_out_part_is_asked_once(validating: Callable[..., Validating]) -> None:
    made = validating(validation=ValidationName.holdout)
    found = made.outcome(RECIPE, 3)
    assert (found.correct.shape, found.losses.shape) == ((16,), (16,))
    assert set(found.correct) <= {0.0, 1.0}
    assert found.history[-1]["val_accuracy"] == pytest.approx(found.accuracy)
    assert found.history[-1]["val_loss"] == pytest.approx(found.loss, rel=1e-5)
    assert len(found.history) == 2
    assert (made.images, made.steps, made.groups) == (16, 2, None)
    np.testing.assert_array_equal(found.logits.argmax(1) == made.labels, found.correct == 1)


def test_equal_seeds_give_equal_outcomes(validating: Callable[..., Validating]) -> None:
    made = validating(validation=ValidationName.holdout)
    one, same, other = (made.outcome(RECIPE, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.losses, same.losses)
    assert not np.array_equal(one.losses, other.losses)


def test_folds_ask_about_every_picture_once(validating: Callable[..., Validating]) -> None:
    made = validating(validation=ValidationName.kfold)
    observer = Noting()
    found, asked = made.outcome(RECIPE, 0, observer=observer), observer.reports
    assert made.images == len(found.correct) == 32
    assert np.isfinite(found.losses).all()
    assert len(found.history) == 2
    assert found.history[-1]["val_accuracy"] == pytest.approx(found.accuracy)
    # what was said is in the order of the labels
    np.testing.assert_array_equal(found.logits.argmax(1) == made.labels, found.correct == 1)
    said = -log_softmax(found.logits, axis=1)[np.arange(32), made.labels]
    np.testing.assert_allclose(said, found.losses, rtol=1e-4, atol=1e-6)
    assert [step for step, _ in asked] == [0, 1]
    assert made.steps == 2
    assert asked[-1][1] == pytest.approx(found.accuracy)


def test_the_wilcoxon_pruner_is_told_of_each_fold_alone(validating: Callable[..., Validating]) -> None:
    made = validating(validation=ValidationName.kfold, pruner=PrunerName.wilcoxon, folds=5)
    observer = Noting()
    found = made.outcome(replace(RECIPE, epochs=1), 0, observer=observer)
    own = [found.correct[fold.val].mean() for fold in made.folds(0)]
    assert [accuracy for _, accuracy in observer.reports] == pytest.approx(own)


def test_pictures_of_one_group_are_never_divided(toy_artifacts: Artifacts) -> None:
    store = in_groups(toy_artifacts)
    config = config_of(validation=ValidationName.kfold, folds=2)
    made = Validating(store, toy_artifacts.stage("replace_head"), config)
    assert made.groups is not None
    assert len(np.unique(made.groups)) == 8
    for repeat in range(3):
        for fold in made.folds(repeat):
            assert not set(made.groups[fold.train]) & set(made.groups[fold.val])


def test_of_a_held_out_part_only_its_own_groups_count(toy_artifacts: Artifacts) -> None:
    store = in_groups(toy_artifacts)
    config = config_of(validation=ValidationName.holdout)
    made = Validating(store, toy_artifacts.stage("replace_head"), config)
    assert made.groups is not None
    assert (len(made.groups), len(np.unique(made.groups))) == (16, 4)


def test_what_is_told_is_the_accuracy_after_some_epochs(validating: Callable[..., Validating]) -> None:
    long = replace(RECIPE, epochs=13)
    made, observer = validating(long, validation=ValidationName.holdout), Noting()
    found, asked = made.outcome(long, 0, observer=observer), observer.reports
    assert [step for step, _ in asked] == list(range(10))
    assert made.steps == 10
    after = [2, 3, 4, 6, 7, 8, 10, 11, 12, 13]
    assert [value for _, value in asked] == [found.history[epoch - 1]["val_accuracy"] for epoch in after]
    assert [made.progress(long, step) for step in range(10)] == [f"{epoch} of 13 epochs" for epoch in after]


@given(st.integers(1, 60), st.integers(1, 10))
def test_a_step_is_the_same_share_of_a_training_however_long_it_is(epochs: int, steps: int) -> None:
    told: list[tuple[int, float]] = []
    listener = _per_step(lambda step, epoch: told.append((step, epoch)), epochs, steps)
    for epoch in range(epochs):
        listener({"epoch": float(epoch), "val_accuracy": epoch})
    assert len(told) == min(epochs, steps)
    assert told[-1] == (steps - 1, epochs - 1)
    for step, epoch in told:
        assert epoch / epochs < (step + 1) / steps <= (epoch + 1) / epochs


@pytest.mark.parametrize(
    ("configured", "listed", "steps"),
    [(30, None, 10), (3, [2, 5], 5), (30, [4], 4)],
)
def test_a_short_training_has_as_many_steps_as_the_longest(
    configured: int, listed: list[int] | None, steps: int, validating: Callable[..., Validating]
) -> None:
    space = Space(choices={"epochs": listed} if listed else {})
    made = validating(replace(RECIPE, epochs=configured), validation=ValidationName.holdout, space=space)
    assert made.steps == steps


def test_a_solved_head_reports_nothing_on_a_held_out_part(validating: Callable[..., Validating]) -> None:
    watch = Noting()
    held_out = validating(validation=ValidationName.holdout)
    held_out.outcome(replace(RECIPE, depth="all"), 0, observer=watch)
    assert watch.noted[1:] == ["epoch 0", "after 1"]
    assert watch.reports == []


def test_that_scores_are_too_high_is_said() -> None:
    assert flattered(RECIPE) is None
    said = flattered(replace(RECIPE, keep=Keep.best))
    assert said is not None
    assert "finetune.keep = best" in said
    assert "finetune.keep=last" in said


def test_the_last_row_says_what_the_kept_weights_achieve(validating: Callable[..., Validating]) -> None:
    made = validating(validation=ValidationName.holdout)
    for keep in (replace(RECIPE, epochs=4, keep=Keep.best, head_lr=0.3), replace(RECIPE, wise_ft=0.5)):
        found = made.outcome(keep, 0)
        assert found.history[-1]["val_accuracy"] == pytest.approx(found.accuracy)
        assert found.history[-1]["val_loss"] == pytest.approx(found.loss, rel=1e-5)
        assert [row["epoch"] for row in found.history] == list(range(len(found.history)))


def test_weights_are_kept_when_asked_for(
    validating: Callable[..., Validating], toy_artifacts: Artifacts, tmp_path: Path
) -> None:
    made, weights = validating(validation=ValidationName.kfold), tmp_path / "kept" / "seed_1.safetensors"
    found = made.outcome(RECIPE, 5, repeat=1, keep=weights)
    network, _ = load_model(weights, card_beside(weights), base=toy_artifacts.stage("replace_head") / MODEL)
    kept = made.folds(1)[1]
    part = made.store.divided(kept.train, kept.val).part("val")
    correct, losses = worth(*logits(network, batches(part, 256), "cpu"))
    np.testing.assert_array_equal(correct, found.correct[kept.val])
    np.testing.assert_allclose(losses, found.losses[kept.val], rtol=1e-4, atol=1e-6)


def test_who_looks_on_is_told_of_every_training(validating: Callable[..., Validating]) -> None:
    observer = Noting()
    found = validating(validation=ValidationName.kfold).outcome(RECIPE, 0, observer=observer)
    count = int(found.cost["trainable_parameters"])
    assert observer.noted == [f"before {count}", "epoch 0", "epoch 1", "after 2"] * 2


def hungry(artifacts: Artifacts, memory: bool = True) -> None:
    """Let the initial target model be one that needs more memory than there is."""
    folder = artifacts.stage_output("replace_head")
    options = {"memory": memory}
    card = replace(read_card(folder / CARD), architecture="tests_networks.Hungry", options=options)
    save_model(folder / MODEL, folder / CARD, build_random(card), card)


def test_out_of_memory_is_tried_again_in_smaller_parts(
    validating: Callable[..., Validating], toy_artifacts: Artifacts
) -> None:
    hungry(toy_artifacts)
    made, observer = validating(validation=ValidationName.kfold), Noting()
    found = made.outcome(RECIPE, 0, observer=observer)
    assert found.accumulate == 2
    assert [step for step, _ in observer.reports] == [0, 1]
    # the first fold needed two attempts, the second one knows
    assert [note.split()[0] for note in observer.noted].count("before") == 3


def test_parts_of_a_batch_make_the_steps_of_the_whole(
    validating: Callable[..., Validating], toy_artifacts: Artifacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    hungry(toy_artifacts)
    averaged = replace(RECIPE, ema=0.5)
    made = validating(averaged, validation=ValidationName.holdout)
    parts = made.outcome(averaged, 0)
    monkeypatch.setattr("tests_networks.Memory.room", 1000)
    whole = made.outcome(averaged, 0)
    assert (whole.accumulate, parts.accumulate) == (1, 2)
    np.testing.assert_allclose(parts.losses, whole.losses, rtol=1e-4)


def test_too_little_memory_for_any_batch_is_said(
    validating: Callable[..., Validating], toy_artifacts: Artifacts
) -> None:
    hungry(toy_artifacts, memory=False)
    with pytest.raises(UserError, match=r"(?s)^out of memory even with batches of 2 pictures.*input\.size"):
        validating(validation=ValidationName.holdout).outcome(RECIPE, 0)


def test_other_mistakes_are_not_taken_for_want_of_memory(
    validating: Callable[..., Validating], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr("thawline.search.trial.validation.initial_network", broken)
    with pytest.raises(RuntimeError, match="shapes do not match"):
        validating(validation=ValidationName.holdout).outcome(RECIPE, 0)


def test_what_was_voted_for_teaches_in_every_fold_and_validates_in_none(toy_artifacts: Artifacts) -> None:
    store = open_store(toy_artifacts.data("target"))
    split = store.manifest["split"].to_numpy(str).copy()
    split[12:16] = "voted"
    store = replace(store, manifest=store.manifest.assign(split=split))
    config = config_of(folds=2, validation=ValidationName.kfold)
    found = Validating(store, toy_artifacts.stage("replace_head"), config)
    assert found.images == len(found.labels) == len(store) - 4
    for fold in found.folds(0):
        assert len(fold.train) + len(fold.val) == len(store) - 4
    outcome = found.outcome(replace(RECIPE, epochs=1), 0)
    assert len(outcome.correct) == len(store) - 4
