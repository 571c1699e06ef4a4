"""What long work says of itself."""

import logging
import time

import pytest

from thawline import progress as shown
from thawline.progress import Place, part, progress, within


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that can be set."""
    found = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: found[0])
    return found


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO)
    return caplog


@pytest.fixture
def seventh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shown, "_place", Place("search", 7, 11, after=lambda: 100.0))


def test_a_line_says_how_far_and_how_long_at_most_every_ten_seconds(
    now: list[float], said: pytest.LogCaptureFixture
) -> None:
    with progress("finetune", 10) as advance:
        for _ in range(9):
            now[0] += 4
            advance(1, "loss 0.5")
    assert said.messages == [
        "finetune: 1/10, loss 0.5, about 36 s left",
        "finetune: 4/10, loss 0.5, about 24 s left",
        "finetune: 7/10, loss 0.5, about 12 s left",
    ]


def test_within_a_long_step_it_says_how_far_that_is_within_the_first_five_seconds(
    now: list[float], said: pytest.LogCaptureFixture
) -> None:
    with progress("search finetuned", 2):
        for step in range(1, 3):
            now[0] += 4
            within(f"epoch {step} of 8", step / 8)
    assert said.messages == ["search finetuned: 0/2, epoch 1 of 8, about 60 s left"]


def test_what_the_first_step_begins_with_is_no_pace_to_go_by(
    now: list[float], said: pytest.LogCaptureFixture
) -> None:
    with progress("search finetuned", 2):
        now[0] += 12
        within("epoch 1 of 8", 0.01)
        now[0] += 12
        within("epoch 2 of 8", 0.21)
    assert said.messages == [
        "search finetuned: 0/2, epoch 1 of 8",
        "search finetuned: 0/2, epoch 2 of 8, about 2 min left",
    ]


def test_among_all_stages_it_says_which_one_it_is_and_when_everything_is_over(
    now: list[float], said: pytest.LogCaptureFixture, seventh: None
) -> None:
    with progress("search finetuned", 2) as advance:
        now[0] += 20
        advance()
    assert said.messages == ["stage 7 of 11, search finetuned: 1/2, about 20 s left, 2 min in all"]


def test_the_end_is_always_said(now: list[float], said: pytest.LogCaptureFixture) -> None:
    with progress("decoding", 3) as advance:
        advance(3)
    assert said.messages == ["decoding: 3/3, about 0 s left"]


def test_work_done_before_counts_as_done_and_not_as_fast(
    now: list[float], said: pytest.LogCaptureFixture
) -> None:
    with progress("search", 10, done=8) as advance:
        now[0] += 30
        advance()
    assert said.messages == ["search: 9/10, about 30 s left"]


def test_what_works_inside_of_nothing_is_not_shown(said: pytest.LogCaptureFixture) -> None:
    within("epoch 1 of 8", 0.1)
    assert not said.messages


def test_a_step_may_have_parts(now: list[float], said: pytest.LogCaptureFixture) -> None:
    with progress("search finetuned", 2), part("fold", 2, 5):
        now[0] += 12
        within("epoch 4 of 8", 0.5)
    assert said.messages == ["search finetuned: 0/2, fold 2 of 5, epoch 4 of 8, about 68 s left"]
