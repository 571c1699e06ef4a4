"""What every stage cost, and on which machine."""

import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from thawline.report import machine
from thawline.report.costs import collect_costs, saved, stage_name, training_costs
from thawline.report.findings import read_findings
from thawline.report.page import cost_rows


def test_costs_are_collected_from_every_stage(finished: Callable[..., Any]) -> None:
    config, artifacts = finished()
    stages = collect_costs(read_findings(artifacts, config))["stages"]
    assert len(stages) == 7
    assert stages["pretrain"] == {"seconds": 95.0, "runs": 1}
    finetuned = stages["finetune/finetuned"]
    assert (finetuned["seconds"], finetuned["runs"], len(finetuned["seeds"])) == (21.5, 3, 3)
    # thirty trials of 3 s, although the last call of the resumed search took 69 s
    assert stages["search/finetuned"] == {"seconds": 90.0, "runs": 30, "each": 3.0}


def test_trials_side_by_side_take_the_time_of_one_and_each_its_own(finished: Callable[..., Any]) -> None:
    config, artifacts = finished(timed=True)
    findings = read_findings(artifacts, config)
    table = findings.trials["finetuned"]
    # two at a time: each pair begins and ends together
    began = 1000.0 + 5 * (table["number"] // 2)
    findings.trials["finetuned"] = table.assign(started=began, finished=began + 5, seconds=5.0)
    findings.costs["search/finetuned"]["seconds"] = 1.0
    costs = collect_costs(findings)
    assert costs["stages"]["search/finetuned"]["seconds"] == 5 * len(table) / 2
    (row,) = [row for row in cost_rows(costs) if row["stage"] == "search, fine-tuned"]
    assert (row["runs"], row["each"]) == (len(table), "5.0 s")


def test_weights_that_were_given_cost_no_run(finished: Callable[..., Any]) -> None:
    config, artifacts = finished(weights=True, searched=False)
    stages = collect_costs(read_findings(artifacts, config))["stages"]
    assert stages["pretrain"] == {"seconds": 0.0, "runs": 0}
    assert stages["search/finetuned"] == {"seconds": 69.0, "runs": 0}


def measured(finished: Callable[..., Any], **story: Any) -> dict[str, dict[str, float]]:
    config, artifacts = finished(**story)
    return training_costs(collect_costs(read_findings(artifacts, config)))


def test_what_a_training_costs_is_the_mean_over_its_seeds(finished: Callable[..., Any]) -> None:
    trainings = measured(finished)
    assert list(trainings) == ["finetuned", "linear_probe", "from_scratch"]
    assert trainings["from_scratch"]["seconds_per_epoch"] == pytest.approx(0.63)
    assert trainings["from_scratch"]["step_flops"] == 3 * 74_000_000


def test_every_number_a_training_measures_is_there(finished: Callable[..., Any]) -> None:
    assert measured(finished)["finetuned"].keys() == {
        *("trainable_parameters", "total_parameters", "forward_flops", "step_flops", "training_flops"),
        *("seconds_per_epoch", "pictures_per_second", "peak_memory_bytes"),
    }


def test_trainings_of_earlier_versions_are_left_out(finished: Callable[..., Any]) -> None:
    assert measured(finished, costs_measured=False) == {}
    assert training_costs({"stages": {"finetune/finetuned": {"seconds": 1.0, "seeds": {}}}}) == {}
    half = {"0": {"seconds": 1.0}, "1": {"seconds": 1.0, "cost": {"step_flops": 1}}}
    assert training_costs({"stages": {"finetune/finetuned": {"seconds": 2.0, "seeds": half}}}) == {}


def test_trainings_whose_operations_could_not_be_counted_are_left_out() -> None:
    seeds = {
        "0": {"cost": {"seconds_per_epoch": 1.0, "step_flops": 1}},
        "1": {"cost": {"seconds_per_epoch": 1.0}},
    }
    for order in (seeds, dict(reversed(seeds.items()))):
        assert training_costs({"stages": {"finetune/finetuned": {"seconds": 2.0, "seeds": order}}}) == {}


def test_what_freezing_saves_is_told_against_training_everything(finished: Callable[..., Any]) -> None:
    text = saved(measured(finished))
    assert text is not None
    assert "40.0 % of the parameters to train, 26.7 % of the operations per training step and" in text


def test_nothing_is_told_where_nothing_is_saved(finished: Callable[..., Any]) -> None:
    trainings = measured(finished)
    assert saved({**trainings, "finetuned": trainings["from_scratch"]}) is None
    assert saved({"finetuned": trainings["finetuned"]}) is None


def test_time_that_fewer_operations_do_not_explain_was_not_saved(finished: Callable[..., Any]) -> None:
    trainings = measured(finished)
    ours = {**trainings["finetuned"], "step_flops": 2 * trainings["from_scratch"]["step_flops"]}
    text = saved({**trainings, "finetuned": ours})
    assert text is not None
    assert "time" not in text


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
