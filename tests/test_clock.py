"""The time that everything has used."""

import time
from pathlib import Path

import pytest

from thawline.clock import Clock


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock on the wall that can be set."""
    found = [1000.0]
    monkeypatch.setattr(time, "time", lambda: found[0])
    return found


def test_time_counts_from_the_start(tmp_path: Path, now: list[float]) -> None:
    clock = Clock(tmp_path / "clock.json")
    assert clock.used() is None
    clock.start("leaves")
    now[0] += 30
    assert clock.used() == 30


def test_after_a_kill_and_a_pause_what_was_used_counts_and_the_pause_does_not(
    tmp_path: Path, now: list[float]
) -> None:
    Clock(tmp_path / "clock.json").start("leaves")
    for _ in range(4):
        now[0] += 30
        Clock(tmp_path / "clock.json").mark()
    now[0] += 3600
    assert Clock(tmp_path / "clock.json").start("leaves") == 120
    now[0] += 5
    assert Clock(tmp_path / "clock.json").used() == 125


def test_several_who_mark_count_the_time_once(tmp_path: Path, now: list[float]) -> None:
    clocks = [Clock(tmp_path / "clock.json") for _ in range(3)]
    clocks[0].start("leaves")
    for _ in range(5):
        now[0] += 2
        for clock in clocks:
            clock.mark()
    assert clocks[0].used() == 10


def test_other_work_begins_at_nothing_and_so_does_the_same_after_it_was_done(
    tmp_path: Path, now: list[float]
) -> None:
    clock = Clock(tmp_path / "clock.json")
    clock.start("leaves")
    now[0] += 30
    clock.mark()
    assert clock.start("stones") == 0
    clock.stop()
    assert clock.used() is None


def test_it_says_what_it_counts_for(tmp_path: Path) -> None:
    clock = Clock(tmp_path / "clock.json")
    assert clock.key is None
    clock.start("leaves")
    clock.mark()
    assert clock.key == "leaves"


def test_what_is_begun_anew_while_others_mark_the_time_begins_at_nothing(
    tmp_path: Path, now: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("thawline.clock.SECONDS_BETWEEN_MARKS", 0.0)
    clock = Clock(tmp_path / "clock.json")
    with clock.running(), clock.running():
        for key in map(str, range(50)):
            clock.start(key)
            now[0] += 30
            clock.mark()
            assert (clock.key, clock.used()) == (key, 30)


def test_it_is_marked_while_it_runs_whatever_ends_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("thawline.clock.SECONDS_BETWEEN_MARKS", 0.01)
    clock = Clock(tmp_path / "clock.json")
    clock.start("leaves")

    def work() -> None:
        with clock.running():
            time.sleep(0.05)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()
    assert (clock.used() or 0) > 0.04


def test_a_damaged_file_counts_nothing(tmp_path: Path) -> None:
    (tmp_path / "clock.json").write_text("{")
    assert Clock(tmp_path / "clock.json").used() is None
