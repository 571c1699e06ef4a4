"""What was decided by the table of docs/batch_norm.md was seen."""

from statistics import fmean
from types import ModuleType
from typing import Any

import pytest
import torch
from tests_benchmarks import ROOT, loaded

from thawline.artifacts import read_json


@pytest.fixture(scope="module")
def batch_norm() -> ModuleType:
    return loaded("batch_norm")


@pytest.fixture(scope="module")
def measured() -> dict[str, Any]:
    return read_json(ROOT / "benchmarks" / "results" / "batch_norm.json")


def test_the_way_that_was_chosen_mends_what_was_broken(measured: dict[str, Any]) -> None:
    slow = [case for name, run in measured.items() if "mobilenet_v3" in name for case in run.values()]
    assert fmean(case["steps"] - case["own"] for case in slow) > 0.5
    assert max(abs(case["steps"] - case["precise"]) for case in slow) < 0.03


def test_a_chain_of_statistics_is_what_a_layer_would_have(batch_norm: ModuleType) -> None:
    own, seeing = torch.nn.BatchNorm2d(3, momentum=0.3), torch.nn.BatchNorm2d(3, momentum=1.0)
    start, seen = batch_norm.read(own), []
    for _ in range(4):
        pictures = torch.randn(5, 3, 2, 2)
        own(pictures)
        seeing(pictures)
        seen.append(batch_norm.read(seeing))
    found = batch_norm.averaged(seen, start, [[0.3, 0.3]] * 4)
    torch.testing.assert_close(found, batch_norm.read(own))
