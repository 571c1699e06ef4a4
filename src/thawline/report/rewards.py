"""What deciding for the least cost, and training for a reward, came to: a table and a sentence."""

from collections.abc import Mapping
from typing import Any

from thawline.config.recipe.rewards import Reward
from thawline.evaluation.decisions import ARMS, DECIDED
from thawline.report.findings import Findings
from thawline.report.wording import contains_zero
from thawline.wording import Interval, percent_with_range, points_with_range, with_range

_WORDS = {
    "likelihood": "likelihood, the likeliest class",
    DECIDED: "likelihood, the best decision",
    "reward": "then the reward, the likeliest class",
    "reward_decided": "then the reward, the best decision",
}
_HOW = {"reward": "the likeliest class", "reward_decided": "the best decision"}


def rewards(findings: Findings) -> dict[str, Any] | None:
    """Return `heading`, `sentences` and `rows` (model, value, difference) of what the test pictures say; None
    where mistakes cost the same and nothing was rewarded."""
    told = findings.metrics.get("reward") or _without_training(findings.metrics.get("answers", {}))
    if told is None:
        return None
    reward = Reward[told["reward"]]
    costly = reward is Reward.costs
    rows = [
        (
            _WORDS[name],
            (with_range if costly else percent_with_range)(told["arms"][name]),
            _difference(told["differences"][name], costly) if name != DECIDED else "–",
        )
        for name in ARMS
        if name in told["arms"]
    ]
    gaps, sign = told["differences"], -1 if costly else 1
    sentences = [_deciding(gaps["likelihood"], sign)]
    if "reward" in gaps:
        sentences.append(_training(gaps, sign))
    return {
        "heading": f"Decided {'and trained ' if 'reward' in gaps else ''}for {reward.value}",
        "unit": "cost of a picture" if costly else reward.value,
        "sentences": sentences,
        "rows": rows,
    }


def _without_training(answers: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the costs that the bundle's decisions come to as if of a reward that was not trained for."""
    costs = answers.get("costs")
    if costs is None:
        return None
    gap = costs["difference"]
    turned = {"mean": -gap["mean"], "low": -gap["high"], "high": -gap["low"]}
    arms = {"likelihood": costs["likeliest"], DECIDED: costs["decisions"]}
    return {"reward": Reward.costs.name, "arms": arms, "differences": {"likelihood": turned}}


def _deciding(gap: Interval, sign: int) -> str:
    """Say what the best decision of likelihood training gains, which needs no other training; `gap` is what
    the likeliest class has more, `sign` -1 where less is better."""
    what = "Deciding by calibrated probabilities, which needs no training,"
    if contains_zero(gap):
        return f"{what} changes nothing that can be told from chance."
    return f"{what} is {'worse' if sign * gap['mean'] > 0 else 'better'} than taking the likeliest class."


def _training(gaps: Mapping[str, Interval], sign: int) -> str:
    """Say what the reward phase gained over that."""
    told = {how: gaps[name] for name, how in _HOW.items() if not contains_zero(gaps[name])}
    if not told:
        return (
            "The reward phase gained nothing over that which can be told from chance: `finetune.reward=none` "
            "takes less time and does as well."
        )
    words = [f"{'better' if sign * gap['mean'] > 0 else 'worse'} with {how}" for how, gap in told.items()]
    return (
        f"Compared with that, the model after the reward phase is {' and '.join(words)}; but it has learned "
        "for more epochs, and only a run with `finetune.reward=none` says what likelihood training makes of "
        "these."
    )


def _difference(value: Interval, costly: bool) -> str:
    if costly:
        mean, low, high = (f"{value[name]:+.3f}".replace("-", "−") for name in ("mean", "low", "high"))
        return f"{mean} ({low} to {high})"
    return f"{points_with_range(value)} points"
