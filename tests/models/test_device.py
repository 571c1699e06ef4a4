"""Where a process computes is decided once, and a demand that cannot be met is said."""

import pytest
import torch

from thawline.config.errors import UserError
from thawline.config.sections import Precision, Trainer
from thawline.models.device import device_of, in_half_precision, prepare_device


def give(monkeypatch: pytest.MonkeyPatch, kind: str | None) -> None:
    found = None if kind is None else torch.device(kind)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available: found)  # noqa: ARG005


@pytest.mark.parametrize(
    ("accelerator", "there", "expected"),
    [
        ("auto", None, "cpu"),
        ("auto", "cuda", "cuda:0"),
        ("gpu", "cuda", "cuda:0"),
        ("gpu", "mps", "mps"),
        ("cpu", "cuda", "cpu"),
    ],
)
def test_the_gpu_is_used_where_there_is_one(
    accelerator: str, there: str | None, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    give(monkeypatch, there)
    assert device_of(Trainer(accelerator=accelerator)) == torch.device(expected)


@pytest.mark.parametrize(("accelerator", "there"), [("gpu", None), ("cuda", "mps"), ("mps", "cuda")])
def test_a_missing_gpu_is_an_error_only_where_one_is_demanded(
    accelerator: str, there: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    give(monkeypatch, there)
    with pytest.raises(UserError, match=f"trainer.accelerator = {accelerator}, but there is none"):
        device_of(Trainer(accelerator=accelerator))


def test_a_process_gets_the_threads_it_is_told() -> None:
    before = torch.get_num_threads()
    assert prepare_device(Trainer(accelerator="cpu", threads=1)) == torch.device("cpu")
    assert torch.get_num_threads() == 1
    torch.set_num_threads(before)


def test_half_precision_is_for_gpus_that_can_unless_it_is_demanded(monkeypatch: pytest.MonkeyPatch) -> None:
    give(monkeypatch, "cuda")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    assert in_half_precision(Trainer())
    assert not in_half_precision(Trainer(accelerator="cpu"))
    assert in_half_precision(Trainer(accelerator="cpu", precision=Precision.bfloat16))
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: False)
    assert not in_half_precision(Trainer())
