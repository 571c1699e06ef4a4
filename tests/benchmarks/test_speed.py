"""The comparison of speeds: the same training for everybody, neighbours in time compared, nothing lost."""

import io
import json
import sys
import tarfile
from dataclasses import fields
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests_benchmarks import ROOT, loaded

CONTRACT = {"work", "ours", "peer", "peer_name", "ratio", "limit", "unit", "runs", "min", "max"}


@pytest.fixture(scope="module")
def speed() -> ModuleType:
    sys.path.insert(0, str(ROOT / "benchmarks"))
    found = loaded("speed")
    # counting takes a second, and a test asks for the same more than once
    found.sides = cache(found.sides)
    return found


@pytest.fixture(scope="module")
def side_by_side(speed: ModuleType) -> ModuleType:
    return sys.modules["side_by_side"]


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
        return side_by_side.row(work, "peer", [{"seconds": 1.0}], [{"seconds": seconds}], None, "seconds")

    path = tmp_path / "results.json"
    side_by_side.write(path, [row("one", 2.0), row("two", 3.0)])
    side_by_side.write(path, [row("two", 5.0)])
    assert [(each["work"], each["ratio"]) for each in json.loads(path.read_text())] == [
        ("one", 2.0),
        ("two", 5.0),
    ]
    assert len(side_by_side.table(side_by_side.read(path)).splitlines()) == 2 + 2


def test_pictures_are_shared_out_over_the_classes(speed: ModuleType, tmp_path: Path) -> None:
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
    images, labels, classes = speed.pictures(tmp_path, 12, 8)
    assert (images.shape, images.dtype, classes) == ((12, 8, 8, 3), np.uint8, 4)
    assert sorted(np.bincount(labels)) == [2, 3, 3, 4]


def test_everybody_trains_the_same_network(speed: ModuleType, tmp_path: Path) -> None:
    """What is compared in time has the same losses, however it is computed."""
    from contestants import bare, bare_channels_last, bare_stored, ours
    from contestants.task import Task

    images, labels, classes = speed.pictures(None, 12, 32)
    task = Task("", "resnet18", classes, 2, 6, 1e-4, 0, (), (), 1, "cpu")
    task = speed.at(speed.prepared(tmp_path, task, images, labels), 5)
    path = task.save(tmp_path / "task.json")
    found = [each.prepare(path)()["losses"] for each in (ours, bare, bare_stored, bare_channels_last)]
    assert found[0] == pytest.approx(found[1], abs=1e-3)
    assert found[2] == pytest.approx(found[1], abs=1e-3)
    assert found[3] == pytest.approx(found[1], abs=1e-3)
    assert len(set(found[1])) == 2


def test_a_probe_elsewhere_solves_a_head_on_the_same_features(speed: ModuleType, tmp_path: Path) -> None:
    from contestants import logistic_regression
    from contestants.task import Task

    images, labels, classes = speed.pictures(None, 12, 32)
    task = Task("", "resnet18", classes, 1, 6, 1e-3, 0, (), (), 1, "cpu")
    task = speed.at(speed.prepared(tmp_path, task, images, labels), 9)
    (loss,) = logistic_regression.prepare(task.save(tmp_path / "task.json"))()["losses"]
    # twelve pictures in hundreds of columns can be told apart
    assert 0 < loss < 0.1


def test_first_weights_come_from_a_source_once(
    speed: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from contestants.task import Task

    images, labels, classes = speed.pictures(None, 8, 32)
    task = Task("", "resnet18", classes, 1, 4, 1e-3, 0, (), (), 1, "cpu")
    task = speed.prepared(tmp_path, task, images, labels)
    random = task.network().state_dict()
    pictures = [[image] * 2 for image in images[:3]]
    monkeypatch.setattr(speed, "by_class", lambda *_: pictures)
    task = speed.pretrained(task, Path("anywhere"), "source", 32, 1)
    first = task.network().state_dict()
    assert "weights of source" in speed.named(task, 32, "something")
    assert first["fc.weight"].shape == (2, 512)
    assert not first["conv1.weight"].equal(random["conv1.weight"])
    monkeypatch.setattr(speed, "Training", None)
    speed.pretrained(task, Path("anywhere"), "source", 32, 1)
    assert all(value.equal(first[name]) for name, value in task.network().state_dict().items())


def test_a_study_needs_each_frozen_part_once(speed: ModuleType, tmp_path: Path) -> None:
    from contestants.task import Task

    np.save(tmp_path / "images.npy", np.zeros(10))
    task = Task(str(tmp_path), "resnet18", 2, 4, 2, 1e-3, 0, (), (), 1, "cpu")
    again, once = speed.operations(speed.at(task, 9), 64)
    prefix, suffix = speed.sides(speed.at(task, 9), 64)
    assert once == prefix + 4 * suffix.step
    assert again > 3 * once

    def limit(*depths: int) -> float:
        return speed._limit(task, 64, 1.0, {"trials": [{"depth": depth} for depth in depths]})

    probe = 10 * 4 * (0.8 * suffix.step + 0.2 * suffix.forward)
    assert limit(9) == pytest.approx(10 * prefix + probe)
    assert limit(9, 9) == pytest.approx(10 * prefix + 2 * probe)
    assert limit(9, 0) == pytest.approx(limit(9) + limit(0))
    # the features at depth 8 are on the way to those at depth 9
    assert limit(9, 8) < limit(9) + limit(8)


def test_only_what_ran_to_its_end_is_close_to_the_best(speed: ModuleType) -> None:
    def trial(value: float | None, finished: float, **more: str) -> dict[str, Any]:
        return {"value": value, "finished": finished, **more}

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
    assert speed._close(ours, peer) == 7.0
    assert speed._close(peer, peer) == 20.0
    assert speed._close({"trials": [trial(0.58, 1.0, state="complete")]}, peer) == float("inf")


def test_the_head_alone_needs_a_twentieth_of_the_operations(speed: ModuleType, tmp_path: Path) -> None:
    from contestants.task import Task

    task = Task(str(tmp_path), "resnet18", 2, 20, 2, 1e-3, 0, (), (), 1, "cpu")
    ratios = []
    for depth in (0, 5, 9):
        again, once = speed.operations(speed.at(task, depth), 64)
        ratios.append(again / once)
    assert ratios[0] == 1.0
    assert 1.2 < ratios[1] < 2.0
    assert ratios[2] == pytest.approx(20, rel=1e-2)


def test_the_page_shows_what_was_measured(side_by_side: ModuleType) -> None:
    page = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    for name in ("cpu_2", "photographs"):
        measured = side_by_side.read(ROOT / "benchmarks" / "results" / f"{name}.json")
        assert all(each.keys() == CONTRACT for each in measured)
        assert side_by_side.table(measured) in page
