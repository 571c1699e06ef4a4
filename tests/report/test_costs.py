"""What every stage cost, and on which machine."""

import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from thawline.report import machine
from thawline.report.costs import collect_costs, stage_name
from thawline.report.findings import read_findings


def test_costs_are_collected_from_every_stage(finished: Callable[..., Any]) -> None:
    config, artifacts = finished()
    stages = collect_costs(read_findings(artifacts, config.evaluate.confidence))["stages"]
    assert len(stages) == 7
    assert stages["pretrain"] == {"seconds": 95.0, "runs": 1}
    assert stages["finetune/finetuned"] == {"seconds": 21.5, "runs": 3, "seeds": {}}
    # thirty trials of 3 s, although the last call of the resumed search took 69 s
    assert stages["search/finetuned"] == {"seconds": 90.0, "runs": 30}


def test_weights_that_were_given_cost_no_run(finished: Callable[..., Any]) -> None:
    config, artifacts = finished(weights=True, searched=False)
    stages = collect_costs(read_findings(artifacts, config.evaluate.confidence))["stages"]
    assert stages["pretrain"] == {"seconds": 0.0, "runs": 0}
    assert stages["search/finetuned"] == {"seconds": 69.0, "runs": 0}


def test_stages_are_named_in_words() -> None:
    assert stage_name("search/from_scratch") == "search, from scratch"
    assert stage_name("pretrain") == "pretrain"


def test_the_machine_is_described() -> None:
    found = machine.describe_machine()
    assert found["cores"] >= 1
    assert found["memory_gib"] > 0
    assert found["processor"]
    assert set(found["versions"]) >= {"python", "torch", "thawline"}


def test_gpus_are_listed_where_the_driver_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = subprocess.CompletedProcess([], 0, "Card A\nCard B\n", "")
    monkeypatch.setattr(machine.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(machine.subprocess, "run", lambda *_, **__: answer)
    assert machine.describe_machine()["gpus"] == ["Card A", "Card B"]


def test_a_driver_that_fails_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise subprocess.CalledProcessError(9, "nvidia-smi")

    monkeypatch.setattr(machine.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(machine.subprocess, "run", fail)
    assert machine.describe_machine()["gpus"] == []
