"""Processes that train together: as many as wanted, and of one mind."""

from typing import Any

import pytest
import torch

from thawline.config.errors import UserError
from thawline.config.sections import Trainer
from thawline.training.processes import join, on_gpus, place, same_everywhere, summed

TOLD = {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2", "GROUP_RANK": "0"}


def test_a_process_alone_agrees_with_itself() -> None:
    join(Trainer())
    assert place() == (0, 1)
    assert same_everywhere("anything", "what there is") == "anything"
    assert summed(torch.tensor([1.0, 2.0])).tolist() == [1, 2]


@pytest.mark.parametrize(
    ("settings", "told", "message"),
    [
        (Trainer(devices=2), {}, r"devices = 2 and trainer.nodes = 1 mean 2 .* but there are 1, 1 on this"),
        (Trainer(), TOLD, "devices = 1 and trainer.nodes = 1 mean 1 .* but there are 2, 2 on this machine"),
        (
            Trainer(nodes=2),
            TOLD,
            r"mean 2 process\(es\), 1 on each machine, but there are 2, 2 on this machine",
        ),
    ],
)
def test_another_number_of_processes_than_wanted_is_refused(
    settings: Trainer, told: dict[str, str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=message):
        join(settings)


def test_processes_that_disagree_are_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def gather(values: list[Any], value: Any) -> None:
        values[:] = [value, "other data"]

    monkeypatch.setattr("thawline.training.processes.place", lambda: (0, 2))
    monkeypatch.setattr("torch.distributed.all_gather_object", gather)
    with pytest.raises(
        UserError, match="do not agree on the data:\n  process 0 has 'mine', process 1 has 'o"
    ):
        same_everywhere("mine", "the data")
    assert same_everywhere("other data", "the data") == "other data"


def test_fewer_gpus_than_processes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: False)
    with pytest.raises(UserError, match="trainer.devices = 2, but this machine has 1 GPU"):
        on_gpus(Trainer(devices=2))
    assert on_gpus(Trainer(nodes=2))
    assert not on_gpus(Trainer(devices=2, accelerator="cpu"))


def test_a_macs_gpu_cannot_be_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.accelerator.current_accelerator", lambda **_: torch.device("mps"))
    with pytest.raises(UserError, match="cannot share this machine's one GPU"):
        on_gpus(Trainer(devices=2))
    assert not on_gpus(Trainer(devices=2, accelerator="cpu"))
