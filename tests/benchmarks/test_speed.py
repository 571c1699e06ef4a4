"""The comparison of speeds: the same training for everybody, neighbours in time compared, nothing lost."""

import io
import json
import tarfile
from dataclasses import fields, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests_benchmarks import ROOT, loaded
from torch.nn import functional

CONTRACT = {"work", "ours", "peer", "peer_name", "ratio", "limit", "unit", "runs", "min", "max"}


NETWORK = "tests_networks.Small"
DEEPEST = 3
"""Units of this network."""


@pytest.fixture(scope="module")
def tasks() -> ModuleType:
    return loaded("tasks")


@pytest.fixture(scope="module")
def side_by_side() -> ModuleType:
    return loaded("side_by_side")


@pytest.fixture
def task(tasks: ModuleType, tmp_path: Path) -> Any:
    """Two epochs of twelve random pictures for a small network."""
    images, labels, classes = loaded("pictures").pictures(None, 12, 32)
    asked = loaded("contestants.task").Task("", NETWORK, classes, 2, 6)
    return tasks.prepared(tmp_path, asked, images, labels)


def test_neighbours_are_compared_and_the_order_alternates(side_by_side: ModuleType) -> None:
    took = {"ours": iter([1.0, 2.0, 4.0]), "peer": iter([3.0, 2.0, 40.0])}
    order: list[str] = []

    def run(name: str) -> dict[str, float]:
        order.append(name)
        return {"seconds": next(took[name])}

    rows, said = side_by_side.compare(
        "work", lambda: run("ours"), {"peer": lambda: run("peer")}, rounds=3, limit=0.5
    )
    assert order == ["ours", "peer", "peer", "ours", "ours", "peer"]
    (row,) = rows
    assert (row.ours, row.peer, row.ratio, row.min, row.max) == (2.0, 3.0, 3.0, 1.0, 10.0)
    assert (row.limit, row.runs, row.peer_name) == (0.5, 3, "peer")
    assert [each["seconds"] for each in said["ours"]] == [1.0, 2.0, 4.0]
    assert {field.name for field in fields(row)} == CONTRACT


def test_a_contestant_that_fails_says_why(side_by_side: ModuleType) -> None:
    with pytest.raises(SystemExit, match="nothing to compare with"):
        side_by_side.alone(["-c", "raise SystemExit('nothing to compare with')"])


def test_results_of_other_works_stay(side_by_side: ModuleType, tmp_path: Path) -> None:
    def row(work: str, seconds: float) -> object:
        return side_by_side.row(work, "peer", [{"seconds": 1.0}], [{"seconds": seconds}], None)

    path = tmp_path / "results.json"
    side_by_side.write(path, [row("one", 2.0), row("two", 3.0)])
    side_by_side.write(path, [row("two", 5.0)])
    assert [(each["work"], each["ratio"]) for each in json.loads(path.read_text())] == [
        ("one", 2.0),
        ("two", 5.0),
    ]
    assert len(side_by_side.table(json.loads(path.read_text())).splitlines()) == 2 + 2


def test_pictures_are_shared_out_over_the_classes(tmp_path: Path) -> None:
    for name, classes in (("hotdog", {"hot": 6, "not": 6}), ("antsbees", {"ants": 2, "bees": 6})):
        with tarfile.open(tmp_path / f"{name}.tar", "w") as tar:
            for label, count in classes.items():
                for place in range(count):
                    buffer = io.BytesIO()
                    Image.new("RGB", (20, 30)).save(buffer, "png")
                    member = tarfile.TarInfo(f"{name}/train/{label}/{place}.png")
                    member.size = buffer.tell()
                    buffer.seek(0)
                    tar.addfile(member, buffer)
    images, labels, classes = loaded("pictures").pictures(tmp_path, 12, 8)
    assert (images.shape, images.dtype, classes) == ((12, 8, 8, 3), np.uint8, 4)
    assert sorted(np.bincount(labels)) == [2, 3, 3, 4]


def test_everybody_trains_the_same_network(
    tasks: ModuleType, task: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is compared in time has the same losses, however it is computed, but for what is drawn."""
    monkeypatch.setattr(functional, "dropout", lambda x, *_: x)
    path = tasks.at(task, 2).save(tmp_path / "task.json")
    names = ("bare", "ours", "bare_stored", "bare_channels_last")
    found = [loaded(f"contestants.{name}").prepare(path)()["losses"] for name in names]
    for losses in found[1:]:
        assert losses == pytest.approx(found[0], abs=1e-3)
    assert len(set(found[0])) == 2


def test_a_probe_elsewhere_solves_a_head_on_the_same_features(
    tasks: ModuleType, task: Any, tmp_path: Path
) -> None:
    path = tasks.at(task, DEEPEST).save(tmp_path / "task.json")
    (loss,) = loaded("contestants.logistic_regression").prepare(path)()["losses"]
    # better than chance on pictures of noise, in eight columns
    assert 0 < loss < 0.7


def test_first_weights_come_from_a_source_once(
    tasks: ModuleType, task: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = task.network().state_dict()
    pictures = [[image] * 2 for image in task.array("images")[:3]]
    monkeypatch.setattr(tasks, "by_class", lambda *_: pictures)
    task = tasks.pretrained(task, Path("anywhere"), "source", 32, 1)
    first = task.network().state_dict()
    assert "weights of source" in tasks.named(task, 32, "something")
    assert first["head.weight"].shape == (2, 8)
    assert not first["stem.0.weight"].equal(random["stem.0.weight"])
    monkeypatch.setattr(tasks, "Training", None)
    tasks.pretrained(task, Path("anywhere"), "source", 32, 1)
    assert all(value.equal(first[name]) for name, value in task.network().state_dict().items())


def test_a_study_needs_each_frozen_part_once(tasks: ModuleType, task: Any) -> None:
    again, once = tasks.operations(tasks.at(task, DEEPEST), 32)
    prefix, suffix = tasks.sides(tasks.at(task, DEEPEST), 32)
    assert once == prefix + 2 * suffix.step
    assert again > 1.5 * once

    def limit(*depths: int) -> float:
        return loaded("studies")._limit(task, 32, 1.0, {"trials": [{"depth": depth} for depth in depths]})

    probe = 12 * 2 * (0.8 * suffix.step + 0.2 * suffix.forward)
    assert limit(DEEPEST) == pytest.approx(12 * prefix + probe)
    assert limit(DEEPEST, DEEPEST) == pytest.approx(12 * prefix + 2 * probe)
    assert limit(DEEPEST, 0) == pytest.approx(limit(DEEPEST) + limit(0))
    # the features at a depth are on the way to those behind it
    assert limit(DEEPEST, DEEPEST - 1) < limit(DEEPEST) + limit(DEEPEST - 1)


def test_only_what_ran_to_its_end_is_close_to_the_best() -> None:
    def trial(value: float | None, finished: float, **more: str) -> dict[str, Any]:
        return {"value": value, "finished": finished, **more}

    close = loaded("studies")._close
    peer = {"trials": [trial(0.5, 10.0), trial(0.6, 20.0)], "seconds": 30.0}
    ours = {
        "before": 3.0,
        "trials": [
            trial(0.6, 1.0, state="pruned"),
            trial(None, 2.0, state="failed"),
            trial(0.59, 4.0, state="complete"),
            trial(0.61, 5.0, state="complete"),
        ],
    }
    assert close(ours, peer) == 7.0
    assert close(peer, peer) == 20.0
    assert close({"trials": [trial(0.58, 1.0, state="complete")]}, peer) == float("inf")


def test_the_head_alone_needs_a_twentieth_of_the_operations(tasks: ModuleType, task: Any) -> None:
    ratios = []
    for depth in (0, 2, DEEPEST):
        again, once = tasks.operations(replace(tasks.at(task, depth), epochs=20), 32)
        ratios.append(again / once)
    assert ratios[0] == 1.0
    assert 1.2 < ratios[1] < 2.0
    assert ratios[2] == pytest.approx(20, rel=1e-2)


def test_what_was_measured_has_the_same_columns() -> None:
    measured = json.loads((ROOT / "benchmarks" / "results" / "photographs.json").read_text())
    assert measured
    assert all(each.keys() == CONTRACT for each in measured)


@pytest.mark.slow
def test_the_script_measures_and_shows(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    speed = loaded("speed")
    monkeypatch.setattr(speed, "ROOT", tmp_path)
    monkeypatch.setattr(speed, "RESULTS", tmp_path)
    monkeypatch.setattr(speed, "operations_per_second", lambda *_: 1e9)
    told = {"seconds": 2.0, "steps": 1.0, "losses": [0.5]}
    monkeypatch.setattr(loaded("tasks"), "process", lambda *_: lambda: told)
    given = ["--architecture", NETWORK, "--pictures", "6", "--size", "16", "--epochs", "1", "--rounds", "1"]
    monkeypatch.setattr("sys.argv", ["speed.py", *given, "--name", "toy", "depths", "steps", "peers"])
    speed.main()
    rows = json.loads((tmp_path / "toy.json").read_text())
    assert len(rows) == (DEEPEST + 1) + 3 + 5
    assert {row["ratio"] for row in rows} == {1.0, 2.0}
