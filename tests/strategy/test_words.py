"""Three sentences: which strategy, why for these pictures, what would change it."""

from dataclasses import replace
from pathlib import Path

import pytest

from thawline.strategy.rule import NUMBERS, Condition, Facts, Rule, Side, advise
from thawline.strategy.words import STRATEGIES, sentences

ROOT = Path(__file__).resolve().parents[2]
FACTS = Facts(pictures=280, classes=7, last=0.75, best=0.78, peak=0.5)
RULE = Rule(
    (Condition("error", 0.2), Condition("each", 15)),
    freeze=Side("probe", 0, 0, 0, 30),
    unfreeze=Side("half_frozen", 0.031, 0.01, 0.05, 50),
    each=(5, 40),
    classes=(2, 10),
)


def told(facts: Facts, rule: Rule = RULE, found: str = "") -> list[str]:
    return sentences(advise(facts, rule), found)


def test_which_strategy_comes_with_the_settings_that_are_it() -> None:
    assert "the second half of the units" in told(FACTS)[0]
    assert "`finetune=lp_ft finetune.depth=0.5 finetune.batch_norm=frozen`" in told(FACTS)[0]


def test_why_tells_heads_pictures_and_what_was_measured() -> None:
    why = told(FACTS, found="this search saw nothing")[1]
    assert "78 % of the training pictures right out of fold" in why
    assert "75 % on the last cut alone; the single cut of least log-loss lies after 50 % of the units" in why
    assert "40 of a class" in why
    assert "+3.1 percentage points (95 % interval +1.0 to +5.0)" in why
    assert "on 50 measured subsets like that it gained" in why
    assert why.endswith("; this search saw nothing.")


def test_a_rule_without_conditions_rests_on_all_that_was_measured() -> None:
    which, why, change = told(FACTS, replace(RULE, conditions=()))
    assert "**the linear probe**" in which
    assert why.endswith("on all 30 measured subsets no other strategy was better by half a point on average.")
    assert change.startswith("No number that is known before training tells where another strategy is better")


@pytest.mark.parametrize(
    ("facts", "change"),
    [
        (FACTS, "if heads got more than 80 % right or with fewer than 15 pictures of a class."),
        (replace(FACTS, best=0.9), "if heads got less than 80 % right."),
        (replace(FACTS, pictures=70), "with at least 15 pictures of a class."),
        (replace(FACTS, best=0.9, pictures=70), "less than 80 % right and with at least 15 pictures"),
    ],
)
def test_what_would_change_it_are_the_conditions_that_decide(facts: Facts, change: str) -> None:
    assert change in told(facts)[2]


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("least", [0.0, 1000.0])
def test_there_are_words_for_every_condition_that_may_be_measured(number: str, least: float) -> None:
    (_, _, change) = told(FACTS, replace(RULE, conditions=(Condition(number, least),)))
    assert change.startswith("It would be ")


def test_every_side_of_a_rule_has_words() -> None:
    for name, (called, settings, _) in STRATEGIES.items():
        side = replace(RULE.freeze, strategy=name)
        which = told(FACTS, replace(RULE, conditions=(), freeze=side))[0]
        assert f"**{called}** (`{settings}`)" in which
        preset = settings.split()[0].removeprefix("finetune=")
        assert (ROOT / "conf" / "finetune" / f"{preset}.yaml").is_file()


def test_a_guess_is_called_one() -> None:
    assert "a guess" in told(replace(FACTS, pictures=2800))[2]
    assert "a guess" not in told(FACTS)[2]
