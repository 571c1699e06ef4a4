"""One fine-tuning: what changes, what stays, what is repeated bit for bit."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import tests_trainings
import torch
from conftest import write_toy_artifacts
from safetensors.torch import load_file
from tests_tracking import recorded
from tests_trainings import CPU, short_of_memory, train

from thawline.artifacts import BEFORE_REWARD, CARD, COSTS, HISTORY, MODEL, RECIPE, Artifacts, read_json
from thawline.config.errors import FieldError
from thawline.config.recipe.rewards import Reward
from thawline.config.sections import (
    BatchNorm,
    Config,
    Contender,
    DataSetName,
    Finetune,
    Keep,
    Method,
    Start,
    Target,
)
from thawline.data.store import open_store
from thawline.models.adapters.added import added_parameters
from thawline.models.checkpoint import load_model
from thawline.models.freezing import state_hashes
from thawline.serving.export import export
from thawline.training.finetune import finetune, initial_network
from thawline.training.recipe import Chosen, write_chosen


def recipe(**changes: object) -> Finetune:
    return tests_trainings.recipe(**{"seeds": 2} | changes)


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
    choose(toy_artifacts, Contender.finetuned, recipe(depth=1, seeds=1, epochs=1), 1)

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
    choose(toy_artifacts, Contender.finetuned, recipe(depth=1, seeds=1, epochs=1), 1)

    def killed(*_: object) -> None:
        raise SystemError("killed")

    with monkeypatch.context() as patch:
        patch.setattr("thawline.training.finetune.write_json", killed)
        with pytest.raises(SystemError):
            finetune(stage_config(tmp_path), toy_artifacts)
    finetune(stage_config(tmp_path), toy_artifacts)
    (run,) = recorded()
    assert (run.info.run_name, run.info.status) == ("finetuned 0", "FINISHED")


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in which two contenders were fine-tuned."""
    artifacts = write_toy_artifacts(tmp_path_factory.mktemp("done"))
    choose(artifacts, Contender.finetuned, recipe(depth=1), 1)
    choose(artifacts, Contender.from_scratch, recipe(start=Start.random, body_lr=None, seeds=1), 0)
    finetune(both(artifacts.root), artifacts)
    return artifacts.root


def both(root: Path) -> Config:
    config = stage_config(root)
    config.contenders = [Contender.finetuned, Contender.from_scratch]
    return config


@pytest.fixture
def again(done: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Fine-tune them again, from the same recipes but for `changed` of one, when DVC has removed what that
    left. Return how many epochs were trained, and what each call wrote."""
    artifacts = Artifacts.under(shutil.copytree(done, tmp_path / "again"))
    folder, trained = artifacts.stage_output("finetune"), list[float]()
    monkeypatch.setattr("thawline.training.finetune.show", lambda _: lambda row: trained.append(row["epoch"]))

    def files() -> dict[str, bytes]:
        paths = (path for path in folder.rglob("*") if path.is_file())
        return {str(path.relative_to(folder)): path.read_bytes() for path in paths}

    def finetuned_again(**changed: Any) -> tuple[int, dict[str, bytes], dict[str, bytes], Path]:
        first = files()
        shutil.rmtree(folder)
        choose(artifacts, Contender.finetuned, recipe(depth=1, **changed), 1)
        finetune(both(artifacts.root), artifacts)
        return len(trained), first, files(), artifacts.checkpoints

    return finetuned_again


def test_the_stage_writes_one_model_per_seed(done: Path) -> None:
    folder = Artifacts.under(done).stage("finetune", "finetuned")
    weights = ["seed_0.safetensors", "seed_1.safetensors"]
    assert sorted(path.name for path in (folder / "weights").iterdir()) == weights
    assert (folder / CARD).exists()
    assert len((folder / HISTORY).read_text().splitlines()) == 1 + 2 * 2
    costs = read_json(folder / COSTS)["seeds"]
    assert set(costs) == {"0", "1"}
    cost = costs["0"]["cost"]
    assert 0 < cost["trainable_parameters"] < cost["total_parameters"]
    assert cost["forward_flops"] < cost["step_flops"] < 3 * cost["forward_flops"]
    assert min(cost["seconds_per_epoch"], cost["pictures_per_second"], cost["peak_memory_bytes"]) > 0


def test_what_is_finished_is_found_again_byte_for_byte(again: Callable[..., Any]) -> None:
    epochs, first, then, _ = again()
    assert epochs == 0
    assert first == then
    assert {name.partition("/")[0] for name in first} == {"finetuned", "from_scratch"}


def test_another_recipe_of_one_contender_trains_no_other_one(again: Callable[..., Any]) -> None:
    epochs, first, then, checkpoints = again(label_smoothing=0.1)
    assert epochs == 2 * 2, "two seeds of two epochs"
    weights = [name for name in first if name.endswith(".safetensors")]
    assert {name.partition("/")[0] for name in weights if first[name] == then[name]} == {"from_scratch"}
    # of each contender the last recipe is kept, without what could only be needed to go on
    kept = [path.name.rpartition("-")[0] for path in checkpoints.iterdir() if path.is_dir()]
    assert sorted(kept) == ["finetune-finetuned", "finetune-from_scratch"]
    assert not list(checkpoints.rglob("*.ckpt"))


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
    train(again, open_store(toy_artifacts.data("target")), depth=1, epochs=1)
    # on pictures, not on stored features: the last bits differ
    for name, tensor in again.state_dict().items():
        torch.testing.assert_close(before.state_dict()[name], tensor, rtol=1e-3, atol=1e-4)


def test_a_seed_may_be_a_soup_of_adapted_networks_and_is_saved_as_what_it_adds(
    toy_artifacts: Artifacts, tmp_path: Path
) -> None:
    chosen = recipe(
        seeds=1, epochs=1, soup=2, depth=1, method=Method.scale_shift, batch_norm=BatchNorm.frozen
    )
    choose(toy_artifacts, Contender.finetuned, chosen, 1)
    finetune(stage_config(tmp_path), toy_artifacts)
    folder, base = toy_artifacts.stage("finetune", "finetuned"), toy_artifacts.stage("replace_head") / MODEL
    saved = folder / "weights" / "seed_0.safetensors"
    network, _ = load_model(saved, folder / CARD, base=base)
    assert load_file(saved).keys() == added_parameters(network) | {"head.weight", "head.bias"}
    assert set(read_json(folder / COSTS)["seeds"]["0"]["soup"]) <= {0, 1}


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


@pytest.mark.parametrize("depth", [2, 3])
def test_a_refit_learns_from_the_validation_pictures_too(
    toy_artifacts: Artifacts, tmp_path: Path, depth: int
) -> None:
    chosen = recipe(depth="all" if depth == 3 else depth, refit=True, seeds=1, epochs=1)
    choose(toy_artifacts, Contender.finetuned, chosen, depth)
    finetune(stage_config(tmp_path), toy_artifacts)
    folder = toy_artifacts.stage("finetune", "finetuned")
    rows = pd.read_csv(folder / HISTORY)
    assert rows["val_accuracy"].isna().all()
    assert rows["train_loss"].notna().all()
    if depth == 3:
        export(stage_config(tmp_path), toy_artifacts)
        assert read_json(toy_artifacts.stage("export") / CARD)["notes"]["validation_accuracy"] is None


@pytest.mark.parametrize("changes", [{"keep": Keep.best}, {"early_stopping": 2}, {"soup": 3}])
def test_what_validation_pictures_choose_cannot_be_refitted(changes: dict[str, Any]) -> None:
    with pytest.raises(FieldError, match=f"refit = True.*\n.*false, because {next(iter(changes))} chooses"):
        recipe(refit=True, **changes)


def test_from_scratch_shares_no_weight_with_the_source(toy_artifacts: Artifacts) -> None:
    initial = toy_artifacts.stage("replace_head")
    copied, _ = initial_network(recipe(), initial, 0)
    random, _ = initial_network(recipe(start=Start.random, body_lr=None), initial, 0)
    name = "stem.0.weight"
    assert not torch.equal(copied.get_parameter(name), random.get_parameter(name))


def test_every_seed_has_a_head_of_its_own(toy_artifacts: Artifacts) -> None:
    initial = toy_artifacts.stage("replace_head")
    first, _ = initial_network(recipe(), initial, 0)
    second, _ = initial_network(recipe(), initial, 1)
    assert not torch.equal(first.get_parameter("head.weight"), second.get_parameter("head.weight"))
    assert torch.equal(first.get_parameter("stem.0.weight"), second.get_parameter("stem.0.weight"))


def test_a_process_that_does_not_lead_trains_every_seed_and_leaves_no_result(
    toy_artifacts: Artifacts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose(toy_artifacts, Contender.finetuned, recipe(depth=1, epochs=1), 1)
    trained: list[int] = []
    for module in ("finetune", "resumption"):
        monkeypatch.setattr(f"thawline.training.{module}.leads", lambda: False)
    monkeypatch.setattr("thawline.training.finetune.show", lambda _: lambda row: trained.append(row["epoch"]))
    finetune(stage_config(tmp_path), toy_artifacts)
    assert trained == [0, 0], "two seeds of an epoch"
    assert not toy_artifacts.stage_output("finetune", "finetuned").exists()
    # Lightning writes checkpoints, and knows itself who leads
    left = (tmp_path / "scratch" / "checkpoints").rglob("*")
    assert {path.name for path in left if path.is_file()} == {"last.ckpt"}
    assert not (tmp_path / "mlflow.db").exists()
