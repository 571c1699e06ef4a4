"""What the page says of decisions and of a reward phase."""

from collections.abc import Callable
from typing import Any

import pytest

from thawline.artifacts import read_json, write_json
from thawline.evaluation.decisions import ARMS, DECIDED
from thawline.report.findings import Findings
from thawline.report.rewards import rewards


def interval(mean: float, half: float) -> dict[str, float]:
    return {"mean": mean, "low": mean - half, "high": mean + half}


def told(name_: str, **differences: float) -> dict[str, Any]:
    """A reward whose arms differ by so much from likelihood with the best decision, give or take 0.02."""
    return {
        "reward": name_,
        "arms": {name: interval(0.6 + differences.get(name, 0), 0.05) for name in ARMS},
        "differences": {name: interval(differences[name], 0.02) for name in ARMS if name != DECIDED},
    }


@pytest.mark.parametrize(
    ("reward", "gained"), [("costs", -0.1), ("balanced_accuracy", 0.1)], ids=["less is better", "more is"]
)
def test_better_and_worse_follow_the_reward(
    reward: str, gained: float, found: Callable[..., Findings]
) -> None:
    findings = found()
    findings.metrics["reward"] = told(reward, likelihood=-gained, reward=gained, reward_decided=-gained)
    said = rewards(findings)
    assert said is not None
    deciding, training = said["sentences"]
    assert deciding.endswith("is better than taking the likeliest class.")
    assert "is better with the likeliest class and worse with the best decision; but it has" in training
    assert [row[0] for row in said["rows"]][1] == "likelihood, the best decision"
    assert said["rows"][1][2] == "–"


def test_where_nothing_is_gained_it_says_so(found: Callable[..., Findings]) -> None:
    findings = found()
    findings.metrics["reward"] = told("costs", likelihood=0.01, reward=-0.01, reward_decided=0.0)
    said = rewards(findings)
    assert said is not None
    deciding, training = said["sentences"]
    assert "changes nothing that can be told from chance" in deciding
    assert "gained nothing over that which can be told from chance: `finetune.reward=none`" in training


def test_costs_without_training_are_told_as_well(found: Callable[..., Findings]) -> None:
    findings = found()
    parts = {"decisions": interval(0.2, 0.05), "likeliest": interval(0.5, 0.1)}
    findings.metrics["answers"] = {"costs": {**parts, "difference": interval(-0.3, 0.1)}}
    said = rewards(findings)
    assert said is not None
    assert said["rows"] == [
        ("likelihood, the likeliest class", "0.500 (0.400 to 0.600)", "+0.300 (+0.200 to +0.400)"),
        ("likelihood, the best decision", "0.200 (0.150 to 0.250)", "–"),
    ]
    (deciding,) = said["sentences"]
    assert "is better than" in deciding
    assert said["heading"].startswith("Decided for ")


def test_without_costs_or_a_reward_there_is_nothing_to_say(found: Callable[..., Findings]) -> None:
    assert rewards(found()) is None


def test_it_is_a_section_of_its_own(
    finished: Callable[..., Any], rendered: Callable[..., tuple[str, str]]
) -> None:
    config, artifacts = finished(recipe={"reward": "balanced_accuracy", "soup": 1})
    path = artifacts.reports / "metrics.json"
    value = {"mean": 0.9, "low": 0.8, "high": 0.95}
    gap = {"mean": 0.0, "low": -0.1, "high": 0.1}
    told = {"arms": dict.fromkeys(ARMS, value), "differences": dict.fromkeys(ARMS, gap)}
    write_json(path, {**read_json(path), "reward": {"reward": "balanced_accuracy", **told}})
    readme, page = rendered(config, artifacts)
    assert "a reward phase for balanced accuracy in the last 30 % of the epochs" in readme.splitlines()[4]
    assert "| then the reward, the best decision | 90.0 % (80.0 to 95.0) | 0.0 (−10.0 to +10.0) points |" in (
        readme
    )
    assert "<td>0.0 (−10.0 to +10.0) points</td>" in page
