"""One fine-tuning: what changes, what stays, what is repeated bit for bit."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from tests_tracking import recorded
from torch import nn

from thawline.artifacts import BEFORE_REWARD, CARD, COSTS, HISTORY, MODEL, RECIPE, Artifacts, read_json
from thawline.config.errors import FieldError
from thawline.config.recipe.rewards import Reward
from thawline.config.sections import (
    AugmentationName,
    BatchNorm,
    ClassWeights,
    Config,
    Contender,
    DataSetName,
    Finetune,
    Keep,
    Method,
    OptimizerName,
    Start,
    Target,
    Trainer,
)
from thawline.data.store import Store, open_store
from thawline.models.adapters.added import added_parameters
from thawline.models.checkpoint import load_model
from thawline.models.cuts import units
from thawline.models.freezing import state_hashes
from thawline.serving.export import export
from thawline.training.classifier import Classifier
from thawline.training.finetune import finetune, initial_network
from thawline.training.history import Fitted, Row, TrainingDivergedError
from thawline.training.parameter_groups import balanced_weights, learning_groups
from thawline.training.recipe import Chosen, write_chosen
from thawline.training.soup import finetune_soup

Build = Callable[[int], nn.Module]
CPU = Trainer(accelerator="cpu", threads=1)


def recipe(**changes: object) -> Finetune:
    values = {"epochs": 3, "batch_size": 4, "body_lr": 1e-2, "head_lr": 5e-2, "seeds": 2}
    return Finetune(**{**values, **changes})  # type: ignore[arg-type]


def train(network: nn.Module, store: Store, depth: int = 0, seed: int = 0, **changes: object) -> Fitted:
    checkpoint = changes.pop("checkpoint", None)
    after = changes.pop("after_epoch", [])
    return finetune_soup(
        network, recipe(depth=depth, **changes), store, CPU, seed=seed, mirror=False,
        checkpoint=checkpoint, after_epoch=after,  # type: ignore[arg-type]
    )  # fmt: skip


@pytest.mark.parametrize("depth", range(4))
def test_exactly_the_unfrozen_tensors_change(depth: int, build_small: Build, toy_store: Store) -> None:
    network = build_small(0)
    assert len(units(network)) == 3
    frozen = {name for unit in units(network)[:depth] for name in (*unit.parameters, *unit.buffers)}
    before = state_hashes(network)
    train(network, toy_store, depth)
    after = state_hashes(network)
    assert {name for name in before if before[name] == after[name]} == frozen
    for name, parameter in network.named_parameters():
        assert (parameter.grad is None) or name not in frozen


def test_the_loss_goes_down_and_the_task_is_learned(build_small: Build, toy_store: Store) -> None:
    fitted = train(build_small(0), toy_store, epochs=12)
    losses = [row["train_loss"] for row in fitted.history]
    assert losses[-1] < 0.7 * losses[0]
    assert fitted.row["val_accuracy"] > 0.8


@pytest.mark.parametrize("augmentation", [AugmentationName.none, AugmentationName.trivial_augment])
def test_equal_seeds_give_equal_bits_and_other_seeds_do_not(
    augmentation: AugmentationName, build_small: Build, toy_store: Store
) -> None:
    first, second, third = build_small(0), build_small(0), build_small(0)
    train(first, toy_store, augmentation=augmentation)
    train(second, toy_store, augmentation=augmentation)
    train(third, toy_store, seed=1, augmentation=augmentation)
    assert state_hashes(first) == state_hashes(second) != state_hashes(third)


def test_training_leaves_no_trace_of_what_was_drawn_before(build_small: Build, toy_store: Store) -> None:
    first, second = build_small(0), build_small(0)
    train(first, toy_store)
    torch.rand(17)
    np.random.default_rng().random()
    train(second, toy_store)
    assert state_hashes(first) == state_hashes(second)


@pytest.mark.parametrize("optimizer", OptimizerName)
def test_a_killed_training_goes_on_as_if_nothing_had_happened(
    optimizer: OptimizerName, build_small: Build, toy_store: Store, tmp_path: Path
) -> None:
    undisturbed, killed = build_small(0), build_small(0)
    expected = train(undisturbed, toy_store, 1, epochs=4, optimizer=optimizer)

    def die_in_the_third(row: Row) -> None:
        if row["epoch"] == 2:
            raise SystemError("killed")

    where = tmp_path / "checkpoint"
    with pytest.raises(SystemError):
        train(
            killed, toy_store, 1, epochs=4, optimizer=optimizer, checkpoint=where,
            after_epoch=[die_in_the_third],
        )  # fmt: skip
    again = build_small(0)
    resumed = train(again, toy_store, 1, epochs=4, optimizer=optimizer, checkpoint=where)
    assert state_hashes(again) == state_hashes(undisturbed)
    assert where.exists()  # until the caller has saved the result
    comparable = [[{**row, "seconds": 0} for row in each.history] for each in (expected, resumed)]
    assert comparable[0] == comparable[1]


def test_the_best_epoch_is_kept_if_asked_for(build_small: Build, toy_store: Store) -> None:
    fitted = train(build_small(0), toy_store, epochs=5, keep=Keep.best, head_lr=0.5, body_lr=0.1)
    assert fitted.row["val_accuracy"] == max(row["val_accuracy"] for row in fitted.history)


def test_early_stopping_ends_a_training_that_no_longer_improves(build_small: Build, toy_store: Store) -> None:
    fitted = train(build_small(0), toy_store, 3, epochs=40, early_stopping=1, head_lr=0.3)
    assert len(fitted.history) < 40


def test_a_diverged_training_says_so(build_small: Build, toy_store: Store) -> None:
    with pytest.raises(TrainingDivergedError, match="lower the learning rate"):
        train(build_small(0), toy_store, optimizer=OptimizerName.sgd, head_lr=1e30, body_lr=1e30)


def test_what_starts_random_learns_at_the_heads_rate(build_small: Build) -> None:
    network = build_small(0)
    named = {group.name: group for group in learning_groups(network, recipe())}
    assert {name.partition(".")[0] for name in named} == {"head", "body"}
    assert named["head.decayed"].parameters == (network.get_parameter("head.weight"),)
    assert named["head.decayed"].learning_rate == 5e-2
    assert named["body.decayed"].learning_rate == 1e-2


def test_from_scratch_has_one_rate_for_everything(build_small: Build) -> None:
    network = build_small(0)
    found = learning_groups(network, recipe(start=Start.random, body_lr=None))
    assert {group.learning_rate for group in found} == {5e-2}
    assert sum(len(group.parameters) for group in found) == len(list(network.parameters()))


def test_class_weights_are_inverse_shares() -> None:
    weights = balanced_weights(np.array([0, 0, 0, 1]), 2)
    assert weights.tolist() == pytest.approx([4 / 6, 2.0])


def test_balanced_classes_change_nothing(build_small: Build, toy_store: Store) -> None:
    plain, weighted = build_small(0), build_small(0)
    train(plain, toy_store)
    train(weighted, toy_store, class_weights=ClassWeights.balanced)
    assert state_hashes(plain) == state_hashes(weighted)


def stage_config(tmp_path: Path, contender: Contender = Contender.finetuned) -> Config:
    config = Config(contenders=[contender], target=Target(dataset=DataSetName.digits), trainer=CPU)
    config.tracking.uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    return config


def choose(artifacts: Artifacts, contender: Contender, chosen: Finetune, depth: int) -> None:
    path = artifacts.stage_output("search", contender.name) / RECIPE
    write_chosen(path, Chosen(contender, chosen, depth, None, None))


def test_a_tracking_server_that_is_gone_costs_no_training(
    toy_artifacts: Artifacts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose(toy_artifacts, Contender.finetuned, recipe(depth=1, seeds=1), 1)

    def gone(*_: object, **__: object) -> None:
        raise ConnectionError("the server is gone")

    with monkeypatch.context() as patch:
        patch.setattr("thawline.tracking.Run.log_history", gone)
        with pytest.raises(ConnectionError):
            finetune(stage_config(tmp_path), toy_artifacts)
    left = sorted(path.name for path in toy_artifacts.checkpoints.rglob("*") if path.is_file())
    assert "seed_0.safetensors" in left
    assert "last.ckpt" in left


def test_a_seed_that_is_killed_after_its_run_ended_is_recorded_once(
    toy_artifacts: Artifacts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose(toy_artifacts, Contender.finetuned, recipe(depth=1, seeds=1), 1)

    def killed(*_: object) -> None:
        raise SystemError("killed")

    with monkeypatch.context() as patch:
        patch.setattr("thawline.training.finetune.write_json", killed)
        with pytest.raises(SystemError):
            finetune(stage_config(tmp_path), toy_artifacts)
    finetune(stage_config(tmp_path), toy_artifacts)
    (run,) = recorded()
    assert (run.info.run_name, run.info.status) == ("finetuned 0", "FINISHED")


def test_the_stage_writes_one_model_per_seed(toy_artifacts: Artifacts, tmp_path: Path) -> None:
    choose(toy_artifacts, Contender.finetuned, recipe(depth=1), 1)
    finetune(stage_config(tmp_path), toy_artifacts)
    folder = toy_artifacts.stage("finetune", "finetuned")
    assert sorted(path.name for path in (folder / "weights").iterdir()) == [
        "seed_0.safetensors",
        "seed_1.safetensors",
    ]
    assert (folder / CARD).exists()
    assert len((folder / HISTORY).read_text().splitlines()) == 1 + 2 * 3
    costs = read_json(folder / COSTS)["seeds"]
    assert set(costs) == {"0", "1"}
    cost = costs["0"]["cost"]
    assert 0 < cost["trainable_parameters"] < cost["total_parameters"]
    assert cost["forward_flops"] < cost["step_flops"] < 3 * cost["forward_flops"]
    assert min(cost["seconds_per_epoch"], cost["pictures_per_second"], cost["peak_memory_bytes"]) > 0


def test_what_a_reward_phase_began_with_is_kept_beside_what_it_made(
    toy_artifacts: Artifacts, tmp_path: Path
) -> None:
    settings = recipe(depth=1, seeds=1, reward=Reward.balanced_accuracy)
    choose(toy_artifacts, Contender.finetuned, settings, 1)
    finetune(stage_config(tmp_path), toy_artifacts)
    folder, base = toy_artifacts.stage("finetune", "finetuned"), toy_artifacts.stage("replace_head") / MODEL
    before, after = (
        load_model(place / "weights" / "seed_0.safetensors", place / CARD, base)[0]
        for place in (folder / BEFORE_REWARD, folder)
    )
    assert state_hashes(before) != state_hashes(after)
    again, _ = initial_network(settings, toy_artifacts.stage("replace_head"), 0)
    train(again, open_store(toy_artifacts.data("target")), 1, epochs=2)
    # on pictures, not on stored features: the last bits differ
    for name, tensor in again.state_dict().items():
        torch.testing.assert_close(before.state_dict()[name], tensor, rtol=1e-3, atol=1e-4)


def test_a_seed_may_be_a_soup_of_adapted_networks_and_is_saved_as_what_it_adds(
    toy_artifacts: Artifacts, tmp_path: Path
) -> None:
    chosen = recipe(seeds=1, soup=2, depth=1, method=Method.scale_shift, batch_norm=BatchNorm.frozen)
    choose(toy_artifacts, Contender.finetuned, chosen, 1)
    finetune(stage_config(tmp_path), toy_artifacts)
    folder, base = toy_artifacts.stage("finetune", "finetuned"), toy_artifacts.stage("replace_head") / MODEL
    saved = folder / "weights" / "seed_0.safetensors"
    network, _ = load_model(saved, folder / CARD, base=base)
    assert load_file(saved).keys() == added_parameters(network) | {"head.weight", "head.bias"}
    assert set(read_json(folder / COSTS)["seeds"]["0"]["soup"]) <= {0, 1}


@pytest.fixture
def finished_twice(
    toy_artifacts: Artifacts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Any]:
    """Fine-tune two contenders, then again when DVC has removed what that left, with another recipe of one of
    them where it is `changed`. Return how many epochs the second call trained, and what each call wrote."""
    trained: list[int] = []
    monkeypatch.setattr("thawline.training.finetune.show", lambda _: lambda row: trained.append(row["epoch"]))

    def files() -> dict[str, bytes]:
        folder = toy_artifacts.stage_output("finetune")
        return {
            str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()
        }

    def twice(**changed: Any) -> tuple[int, dict[str, bytes], dict[str, bytes]]:
        config = stage_config(tmp_path)
        config.contenders = [Contender.finetuned, Contender.from_scratch]
        choose(toy_artifacts, Contender.finetuned, recipe(depth=1), 1)
        choose(toy_artifacts, Contender.from_scratch, recipe(start=Start.random, body_lr=None), 0)
        finetune(config, toy_artifacts)
        first = files()
        shutil.rmtree(toy_artifacts.stage_output("finetune"))
        trained.clear()
        choose(toy_artifacts, Contender.finetuned, recipe(depth=1, **changed), 1)
        finetune(config, toy_artifacts)
        return len(trained), first, files()

    return twice


def test_what_is_finished_is_found_again_byte_for_byte(finished_twice: Callable[..., Any]) -> None:
    epochs, first, again = finished_twice()
    assert epochs == 0
    assert first == again
    assert {name.partition("/")[0] for name in first} == {"finetuned", "from_scratch"}


def test_another_recipe_of_one_contender_trains_no_other_one(
    finished_twice: Callable[..., Any], toy_artifacts: Artifacts
) -> None:
    epochs, first, again = finished_twice(label_smoothing=0.1)
    assert epochs == 2 * 3, "two seeds of three epochs"
    same = {
        name.partition("/")[0]
        for name in first
        if name.endswith(".safetensors") and first[name] == again[name]
    }
    assert same == {"from_scratch"}
    # of each contender the last recipe is kept, without what could only be needed to go on
    kept = [path.name.rpartition("-")[0] for path in toy_artifacts.checkpoints.iterdir() if path.is_dir()]
    assert sorted(kept) == ["finetune-finetuned", "finetune-from_scratch"]
    assert not list(toy_artifacts.checkpoints.rglob("*.ckpt"))


def short_of_memory(patch: pytest.MonkeyPatch, epoch: int) -> None:
    """From this epoch on there is room for no more than 4 pictures."""
    step = Classifier.batch_loss

    def stepped(self: Classifier, batch: Any) -> torch.Tensor:
        if self.current_epoch >= epoch and len(batch[1]) > 4:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return step(self, batch)

    patch.setattr(Classifier, "batch_loss", stepped)


@pytest.mark.parametrize("soup", [1, 2])
def test_every_training_is_in_smaller_parts(
    soup: int, build_small: Build, toy_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    short_of_memory(monkeypatch, 0)
    settings = recipe(batch_size=8, epochs=1, soup=soup)
    fitted = finetune_soup(build_small(0), settings, toy_store, CPU, seed=0, mirror=False, accumulate=2)
    assert np.isfinite(fitted.history[0]["train_loss"])


def test_out_of_memory_is_tried_again_in_smaller_parts_from_the_start(
    toy_artifacts: Artifacts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the attempt that failed had come to, and left in its checkpoint."""
    choose(toy_artifacts, Contender.finetuned, recipe(seeds=1, batch_size=8, epochs=2), 0)
    folder = toy_artifacts.stage_output("finetune", "finetuned")
    saved = []
    for epoch in (0, 1):
        with monkeypatch.context() as patch:
            short_of_memory(patch, epoch)
            finetune(stage_config(tmp_path), toy_artifacts)
        shutil.rmtree(toy_artifacts.checkpoints)  # or it would be found finished
        saved.append(load_file(folder / "weights" / "seed_0.safetensors"))
        assert read_json(folder / COSTS)["seeds"]["0"]["accumulate"] == 2
    assert all(torch.equal(tensor, saved[1][name]) for name, tensor in saved[0].items())


@pytest.mark.parametrize("depth", [0, 2, 3])
def test_a_refit_learns_from_the_validation_pictures_too(
    toy_artifacts: Artifacts, tmp_path: Path, depth: int
) -> None:
    chosen = recipe(depth="all" if depth == 3 else depth, refit=True, seeds=1)
    choose(toy_artifacts, Contender.finetuned, chosen, depth)
    finetune(stage_config(tmp_path), toy_artifacts)
    folder = toy_artifacts.stage("finetune", "finetuned")
    rows = pd.read_csv(folder / HISTORY)
    assert rows["val_accuracy"].isna().all()
    assert rows["train_loss"].notna().all()
    export(stage_config(tmp_path), toy_artifacts)
    assert read_json(toy_artifacts.stage("export") / CARD)["notes"]["validation_accuracy"] is None


@pytest.mark.parametrize("changes", [{"keep": Keep.best}, {"early_stopping": 2}, {"soup": 3}])
def test_what_validation_pictures_choose_cannot_be_refitted(changes: dict[str, Any]) -> None:
    with pytest.raises(FieldError, match=f"refit = True.*\n.*false, because {next(iter(changes))} chooses"):
        recipe(refit=True, **changes)


def test_from_scratch_shares_no_weight_with_the_source(toy_artifacts: Artifacts) -> None:
    from thawline.training.finetune import initial_network

    initial = toy_artifacts.stage("replace_head")
    copied, _ = initial_network(recipe(), initial, 0)
    random, _ = initial_network(recipe(start=Start.random, body_lr=None), initial, 0)
    name = "stem.0.weight"
    assert not torch.equal(copied.get_parameter(name), random.get_parameter(name))


def test_every_seed_has_a_head_of_its_own(toy_artifacts: Artifacts) -> None:
    from thawline.training.finetune import initial_network

    initial = toy_artifacts.stage("replace_head")
    first, _ = initial_network(recipe(), initial, 0)
    second, _ = initial_network(recipe(), initial, 1)
    assert not torch.equal(first.get_parameter("head.weight"), second.get_parameter("head.weight"))
    assert torch.equal(first.get_parameter("stem.0.weight"), second.get_parameter("stem.0.weight"))


def test_a_process_that_does_not_lead_trains_every_seed_and_leaves_no_result(
    toy_artifacts: Artifacts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose(toy_artifacts, Contender.finetuned, recipe(depth=1), 1)
    trained: list[int] = []
    for module in ("finetune", "resumption"):
        monkeypatch.setattr(f"thawline.training.{module}.leads", lambda: False)
    monkeypatch.setattr("thawline.training.finetune.show", lambda _: lambda row: trained.append(row["epoch"]))
    finetune(stage_config(tmp_path), toy_artifacts)
    assert trained == [0, 1, 2, 0, 1, 2]
    assert not toy_artifacts.stage_output("finetune", "finetuned").exists()
    # Lightning writes checkpoints, and knows itself who leads
    left = (tmp_path / "scratch" / "checkpoints").rglob("*")
    assert {path.name for path in left if path.is_file()} == {"last.ckpt"}
    assert not (tmp_path / "mlflow.db").exists()
