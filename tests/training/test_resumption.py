"""What an unfinished training leaves, and that another goes on with it bit for bit."""

import errno
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from conftest import write_toy_store
from tests_trainings import GRADUAL, PROBE, Build, Calm, Calms, comparable, die, die_after, let_be_best, train
from torch import nn

from thawline.config.errors import UserError
from thawline.config.sections import AugmentationName, Keep, Mix, ScheduleName
from thawline.data.store import Store
from thawline.models.freezing import state_hashes
from thawline.models.zoo import build
from thawline.training.history import Fitted
from thawline.training.resumption import save


def is_gone_on_with(calm: Calm, network: nn.Module, resumed: Fitted) -> bool:
    """Whether a training that was killed came to what an undisturbed one came to."""
    assert comparable(resumed) == comparable(calm.fitted)
    assert resumed.epoch == calm.fitted.epoch
    return state_hashes(network) == calm.end


KILLED = [
    pytest.param(2, {**GRADUAL, "schedule": ScheduleName.one_cycle}, id="while thawing"),
    pytest.param(2, {**PROBE, "ema": 0.7, "l2_sp": 0.1, "wise_ft": 0.5, "keep": Keep.best}, id="with all"),
    pytest.param(1, {"epochs": 3, "mix": Mix.cutmix, "augmentation": AugmentationName.standard}, id="mixed"),
]


@pytest.mark.parametrize(("epoch", "changes"), KILLED)
def test_a_killed_training_goes_on_bit_for_bit(
    epoch: int,
    changes: dict,
    calm: Calms,
    build_small: Build,
    toy_store: Store,
    tmp_path: Path,
) -> None:
    again = build_small(0)
    with pytest.raises(SystemError):
        train(build_small(0), toy_store, checkpoint=tmp_path / "c", after=die_after(epoch), **changes)
    resumed = train(again, toy_store, checkpoint=tmp_path / "c", **changes)
    assert is_gone_on_with(calm(**changes), again, resumed)


def test_an_earlier_phases_best_epoch_survives_a_kill(
    calm: Calms,
    build_small: Build,
    toy_store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    let_be_best(1, monkeypatch)
    changes, again = {**GRADUAL, "keep": Keep.best, "ema": 0.5}, build_small(0)
    with pytest.raises(SystemError):
        train(build_small(0), toy_store, checkpoint=tmp_path, after=die_after(4), **changes)
    resumed = train(again, toy_store, checkpoint=tmp_path, **changes)
    assert is_gone_on_with(calm(**changes), again, resumed)
    assert resumed.epoch == 1


@pytest.mark.slow
def test_a_phase_that_stopped_early_is_not_gone_on_with(
    build_small: Build, toy_store: Store, tmp_path: Path
) -> None:
    changes = {
        **GRADUAL,
        "epochs": 40,
        "early_stopping": 1,
        "head_lr": 0.3,
        "body_lr": 0.1,
        "units": ["blocks.1"],
    }
    undisturbed, again = build_small(0), build_small(0)
    expected = train(undisturbed, toy_store, checkpoint=tmp_path / "a", **changes)
    first = torch.load(tmp_path / "a" / "phase-0" / "finished.pt")["history"]
    assert len(first) < 20
    with pytest.raises(SystemError):
        train(build_small(0), toy_store, checkpoint=tmp_path / "b", after=die_after(len(first)), **changes)
    resumed = train(again, toy_store, checkpoint=tmp_path / "b", **changes)
    assert comparable(resumed) == comparable(expected)
    assert state_hashes(again) == state_hashes(undisturbed)


def test_a_training_that_had_stopped_early_when_it_was_killed_does_not_go_on(
    build_small: Build, toy_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes = {"epochs": 40, "early_stopping": 1, "head_lr": 0.3, "body_lr": 0.1}
    undisturbed, again = build_small(0), build_small(0)
    expected = train(undisturbed, toy_store, **changes)
    assert len(expected.history) < 20
    with monkeypatch.context() as patch:
        patch.setattr("thawline.training.run.write_finished", die)
        with pytest.raises(SystemError):
            train(build_small(0), toy_store, checkpoint=tmp_path, **changes)
    resumed = train(again, toy_store, checkpoint=tmp_path, **changes)
    assert comparable(resumed) == comparable(expected)
    assert state_hashes(again) == state_hashes(undisturbed)


def test_a_training_killed_before_its_result_is_saved_gives_it_again(
    build_small: Build, toy_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_be_best(1, monkeypatch)
    changes = {**GRADUAL, "keep": Keep.best}
    undisturbed, again = build_small(0), build_small(0)
    expected = train(undisturbed, toy_store, checkpoint=tmp_path, **changes)
    monkeypatch.setattr("thawline.training.fit.fit", die)
    resumed = train(again, toy_store, checkpoint=tmp_path, **changes)
    assert state_hashes(again) == state_hashes(undisturbed)
    assert resumed.history == expected.history
    assert resumed.epoch == expected.epoch


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint of a training at depth 1 that was killed in its second epoch: a refusal leaves it so."""
    folder = tmp_path_factory.mktemp("killed")
    store = write_toy_store(folder / "store", {"train": 8, "val": 8})
    network = build("tests_networks.Small", 2, seed=0)
    with pytest.raises(SystemError):
        train(network, store, checkpoint=folder / "c", depth=1, after=die_after(1))
    return folder / "c"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"depth": 2}, r"depth: 1 in the checkpoint, 2 now(?s:.*)unit: 'stem' in .*, 'blocks.0' now"),
        ({"depth": 1, "body_lr": 0.5}, "body_lr: 0.01 in the checkpoint, 0.5 now"),
        ({"depth": 1, **PROBE}, "phase: 'one' in the checkpoint, 'everything' now"),
    ],
)
def test_going_on_with_another_training_is_refused_by_name(
    changes: dict, message: str, killed: Path, build_small: Build, toy_store: Store
) -> None:
    with pytest.raises(UserError, match=rf"{message}(?s:.*)set these back, or delete"):
        train(build_small(0), toy_store, checkpoint=killed, **changes)


def test_a_finished_phase_of_another_training_is_refused_too(
    build_small: Build, toy_store: Store, tmp_path: Path
) -> None:
    train(build_small(0), toy_store, checkpoint=tmp_path, depth=1, epochs=1)
    with pytest.raises(UserError, match="depth: 1 in the checkpoint, 2 now"):
        train(build_small(0), toy_store, checkpoint=tmp_path, depth=2, epochs=1)


@pytest.mark.skipif(sys.platform != "linux", reason="needs /dev/full")
@pytest.mark.parametrize("size", [1, 100_000])
def test_a_full_disk_is_named_when_a_checkpoint_is_written(
    size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def full(_: Path) -> Iterator[Path]:
        yield Path("/dev/full")

    monkeypatch.setattr("thawline.training.resumption.atomic_path", full)
    with pytest.raises(OSError, match="No space left") as raised:
        save(Path("last.ckpt"), {"network": torch.zeros(size)})
    assert raised.value.errno == errno.ENOSPC
