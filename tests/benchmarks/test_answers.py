"""The benchmark of whole answers: nobody is asked twice, and differences are of the same pictures."""

import re
import sys
import tarfile
from pathlib import Path
from types import ModuleType

import pytest
from tests_benchmarks import ROOT, loaded


@pytest.fixture
def answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    found = loaded("answers")
    monkeypatch.setattr(found, "KEPT", tmp_path / "kept")
    return found


def test_each_is_compared_with_the_longest_fit_on_the_same_pictures(answers: ModuleType) -> None:
    def answer(who: str, right: int, **more: object) -> object:
        correct = [[int(place < right) for place in range(100)]]
        return answers.Answer("leaves", who, 0, 90.0, 2 * 10**9, correct, **more)

    found = [
        answer("logistic regression", 70),
        answer("fit --minutes 5", 80, first=40.0, depth=3),
        answer("fit --minutes 10", 90, first=41.0, depth=9),
    ]
    rows = [dict(zip(answers.NAMES, each, strict=True)) for each in answers.cells(found)]
    assert [row["who"] for row in rows] == [each.who for each in found]
    assert rows[0]["minutes"] == "1.5"
    assert rows[0]["memory"] == "2.0 GB"
    assert rows[0]["the longest fit is better by (95 %)"].startswith("+0.200 (")
    assert [row["the longest fit is better by (95 %)"] for row in rows[1:]] == ["", ""]
    assert rows[2]["accuracy (95 %)"].startswith("0.900 (0.8")
    assert (rows[2]["first model"], rows[2]["depth"]) == ("41 s", "9")


def test_seeds_are_one_row(answers: ModuleType) -> None:
    found = [
        answers.Answer("leaves", "fit --minutes 5", seed, 60.0 * (1 + seed), 10**9, [[1, 0, 1, seed]])
        for seed in (0, 1)
    ]
    (row,) = answers.cells(found)
    assert row[2] == "1.0 / 2.0"
    assert row[5].startswith("0.625")


def test_what_was_measured_is_not_measured_again(
    answers: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def rival(data: str, who: str, seed: int, folder: Path) -> object:
        asked.append((who, folder))
        return answers.Answer(data, who, seed, 1.0, 1, [[1]])

    monkeypatch.setattr(answers, "rival", rival)
    first = list(answers.answers("leaves", [], 0, tmp_path))
    assert [who for who, _ in asked] == list(answers.RIVALS)
    assert list(answers.answers("leaves", [], 0, tmp_path)) == first
    assert len(asked) == len(answers.RIVALS)


def test_the_table_shows_all_that_was_measured_rivals_first_and_then_the_shorter_fits(
    answers: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answered(data: str, who: str, seed: int) -> object:
        return answers.Answer(data, who, seed, 60.0, 1, [[1, 0]])

    monkeypatch.setattr(answers, "rival", lambda data, who, seed, _: answered(data, who, seed))
    monkeypatch.setattr(
        answers, "fitted", lambda data, limit, seed, _: answered(data, f"fit --minutes {limit:g}", seed)
    )
    for data in ("leaves", "bees"):
        list(answers.answers(data, [10, 5], 1, tmp_path, ["timm, 10 epochs"]))
    assert [(row[0], row[1]) for row in answers.rows()] == [
        (data, who)
        for data in ("bees", "leaves")
        for who in ("timm, 10 epochs", "fit --minutes 5", "fit --minutes 10")
    ]


def test_everybody_named_is_one_of_the_rivals(answers: ModuleType) -> None:
    # read, not imported, as in the script
    text = (ROOT / "benchmarks" / "rivals.py").read_text(encoding="utf-8").partition("RIVALS: ")[2]
    assert tuple(re.findall(r'^    "(.+)": ', text, re.MULTILINE)) == answers.RIVALS


def test_an_archive_is_unpacked_once(answers: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "leaves" / "train" / "a").mkdir(parents=True)
    (tmp_path / "leaves" / "train" / "a" / "0.png").write_bytes(b"")
    with tarfile.open(tmp_path / "leaves.tar", "w") as archive:
        archive.add(tmp_path / "leaves", "leaves")
    folder = answers.pictures_of("leaves", tmp_path)
    assert (folder / "train" / "a" / "0.png").exists()
    (tmp_path / "leaves.tar").unlink()
    assert answers.pictures_of("leaves", tmp_path) == folder


def test_a_command_says_what_it_used_and_why_it_failed(answers: ModuleType, tmp_path: Path) -> None:
    said, seconds, memory = answers.run([sys.executable, "-c", "print(3)"], tmp_path, tmp_path)
    assert said == "3\n"
    assert seconds > 0
    # a process begins with the memory of the one that started it, which is large here
    assert memory > 10**6
    with pytest.raises(SystemExit, match="no such set"):
        answers.run([sys.executable, "-c", "raise SystemExit('no such set')"], tmp_path, tmp_path)
