"""strategy.json rests on what was known without the test pictures."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from thawline.report import strategy as module
from thawline.report.findings import read_findings
from thawline.report.strategy import facts_of, strategy
from thawline.strategy.rule import Condition, Facts, Rule, Side

RULE = Rule(
    (Condition("each", 15),), Side("probe", 0, 0, 0, 9), Side("lp_ft", 0.1, 0, 0, 9), (5, 40), (2, 10)
)


@pytest.fixture(autouse=True)
def measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RULE", RULE)


@pytest.fixture
def findings(finished: Callable[..., Any]) -> Any:
    config, artifacts = finished(cuts="5 7 9")
    return read_findings(artifacts, config)


def test_facts_are_of_heads_that_were_judged_out_of_fold(findings: Any) -> None:
    size = findings.size("train")
    assert facts_of(findings) == Facts(pictures=size, classes=10, last=0.78, best=0.87, peak=5 / 9)


def test_test_pictures_change_nothing(findings: Any) -> None:
    spoilt = {name: each for name, each in findings.metrics.items() if name == "data"}
    assert strategy(replace(findings, metrics=spoilt)) == strategy(findings)


def test_what_unfreezing_gained_in_the_search_is_told(findings: Any) -> None:
    why = "that unfroze something got 93.0 % of its pictures right, with everything frozen 92.0 %"
    trials = (
        findings.trials["finetuned"]
        .head(4)
        .assign(state="complete", depth=[0, 4, 9, 9], value=[0.91, 0.93, 0.9, 0.92])
    )
    for some, told in ((trials, True), (trials.head(2), False), (trials.tail(2), False)):
        sentence = strategy(replace(findings, trials={"finetuned": some}))["sentences"][1]
        assert (why in sentence) is told


def test_it_is_on_both_pages(finished: Callable[..., Any], rendered: Callable[..., Any]) -> None:
    config, artifacts = finished(cuts="5 7 9")
    advised = strategy(read_findings(artifacts, config))
    assert advised["strategy"] == "lp_ft"
    assert len(advised["sentences"]) == 3
    told, page = rendered(config, artifacts)
    assert " ".join(advised["sentences"]) in told
    assert 'id="strategy"' in page


def test_without_a_rule_nothing_is_advised_and_the_pages_say_nothing_of_it(
    finished: Callable[..., Any], rendered: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RULE", None)
    config, artifacts = finished(cuts="5 7 9")
    nothing = {"strategy": None, "sentences": [module.NO_RULE]}
    assert strategy(read_findings(artifacts, config)) == nothing
    told, page = rendered(config, artifacts)
    assert "strategy" not in told
    assert 'id="strategy"' not in page


def test_without_heads_to_compare_nothing_is_advised(finished: Callable[..., Any]) -> None:
    config, artifacts = finished()
    found = strategy(read_findings(artifacts, config))
    assert found["strategy"] is None
    assert "`linear_probe` was left out" in found["sentences"][0]
