"""The rule: unfreeze where all conditions hold."""

from dataclasses import replace

import pytest

from thawline.strategy.rule import Condition, Facts, Rule, Side, advise

FACTS = Facts(pictures=280, classes=7, last=0.75, best=0.78, peak=0.5)
FREEZE, UNFREEZE = Side("probe", 0, 0, 0, 30), Side("half_frozen", 0.03, 0.01, 0.05, 50)
ERROR, EACH = Condition("error", 0.2), Condition("each", 15)
RULE = Rule((ERROR, EACH), FREEZE, UNFREEZE, each=(5, 40), classes=(2, 10))


def test_it_unfreezes_where_every_number_is_high_enough() -> None:
    advice = advise(FACTS, RULE)
    assert (advice.side, advice.other) == (UNFREEZE, FREEZE)
    assert advice.decisive == (ERROR, EACH)


@pytest.mark.parametrize(
    ("facts", "decisive"),
    [
        (replace(FACTS, best=0.85), (ERROR,)),
        (replace(FACTS, pictures=70), (EACH,)),
        (replace(FACTS, best=0.85, pictures=70), (ERROR, EACH)),
    ],
)
def test_it_freezes_where_one_is_not_and_says_which(facts: Facts, decisive: tuple[Condition, ...]) -> None:
    advice = advise(facts, RULE)
    assert (advice.side, advice.decisive) == (FREEZE, decisive)


def test_more_to_say_for_unfreezing_never_freezes() -> None:
    conditions = (*RULE.conditions, Condition("early", 0.4), Condition("pictures", 250))
    rule = replace(RULE, conditions=conditions)
    more = [
        FACTS,
        replace(FACTS, best=0.5),
        replace(FACTS, pictures=2800),
        replace(FACTS, peak=0.1),
    ]
    assert {advise(facts, rule).side for facts in more} == {UNFREEZE}


def test_a_rule_without_conditions_always_says_the_same() -> None:
    advice = advise(FACTS, replace(RULE, conditions=()))
    assert (advice.side, advice.other, advice.decisive) == (FREEZE, None, ())


@pytest.mark.parametrize(
    ("facts", "beyond"),
    [
        (FACTS, False),
        (replace(FACTS, pictures=2800), True),
        (replace(FACTS, pictures=500, classes=100), True),
    ],
)
def test_what_was_not_measured_is_said(facts: Facts, beyond: bool) -> None:
    assert advise(facts, RULE).beyond is beyond
