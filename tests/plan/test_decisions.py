"""Decisions take the place of what is configured."""

from pathlib import Path

import pytest

from thawline.artifacts import PLAN, Artifacts
from thawline.config.errors import UserError
from thawline.config.sections import Config, Plan, Precision
from thawline.plan.decisions import Decisions, applied, planned, read_decisions, write_decisions

DECIDED = Decisions(
    "ab12", {"finetune.epochs": 5, "search.space.depths": [0, 3, 8], "trainer.precision": "bfloat16"}
)


def test_settings_replace_those_of_the_configuration_and_nothing_else() -> None:
    found = applied(Config(), DECIDED)
    assert (found.finetune.epochs, found.search.space.depths) == (5, [0, 3, 8])
    assert found.trainer.precision is Precision.bfloat16
    assert found.search.trials == Config().search.trials


def test_decisions_come_back_as_they_were_written_and_equal_ones_are_equal_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_decisions(tmp_path / name, DECIDED)
    assert read_decisions(tmp_path / "one") == DECIDED
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_a_decision_that_the_configuration_does_not_allow_is_refused() -> None:
    with pytest.raises(UserError, match="finetune.epochs"):
        applied(Config(), Decisions("", {"finetune.epochs": 0}))


def test_without_minutes_what_is_configured_holds(tmp_path: Path) -> None:
    artifacts = Artifacts.under(tmp_path)
    write_decisions(artifacts.stage_output("plan") / PLAN, DECIDED)
    assert planned(Config(), artifacts).finetune.epochs == Config().finetune.epochs
    assert planned(Config(plan=Plan(minutes=3)), artifacts).finetune.epochs == 5
