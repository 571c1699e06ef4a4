"""The sentences that state what was found."""

from thawline.answer import not_told
from thawline.report.findings import FINETUNED, NAMES, PROBE, SCRATCH, Findings
from thawline.wording import (
    Interval,
    counted,
    percent,
    percent_range,
    percent_with_range,
    points,
    points_range,
)

_AGAINST = {
    SCRATCH: "the same network trained from scratch on the same pictures",
    PROBE: "a linear probe (only the head trained)",
}
DIFFERENCES = {SCRATCH: "difference", PROBE: "difference_linear_probe"}
"""Key in metrics.json of the fine-tuned contender's lead over another one."""


def contains_zero(interval: Interval) -> bool:
    """Tell if chance alone may explain a difference with this interval."""
    return interval["low"] <= 0 <= interval["high"]


def same_model(gap: Interval) -> bool:
    """Tell if two contenders with this difference are one model: another one would leave a doubt."""
    return gap["low"] == gap["high"] == 0


def coverage(findings: Findings) -> str:
    """Write the coverage of the intervals: `95 %`."""
    return f"{100 * findings.confidence:g} %"


def compared(findings: Findings, other: str) -> str | None:
    """Say how the fine-tuned accuracy compares with another contender's; None where that is absent."""
    entry = findings.metrics.get(DIFFERENCES[other])
    if entry is None:
        return None
    gap, against = entry["accuracy"], _AGAINST[other]
    interval = f"{coverage(findings)} interval {points_range(gap)}"
    if contains_zero(gap):
        return (
            f"It is not distinguishable from {against}: the difference of {points(gap['mean'])} "
            f"percentage points has the {interval}, which contains zero."
        )
    word = "more" if gap["mean"] > 0 else "fewer"
    return (
        f"It gets **{points(gap['mean'], signed=False)} percentage points {word}** right than {against} "
        f"({interval}; zero lies outside)."
    )


def freezing(findings: Findings, planned: bool = False) -> list[str]:
    """Say how much to freeze, and why: a paragraph each of what is recommended, where the recipe comes from,
    and how trials were validated. `planned`: a plan for some minutes had a say in it."""
    reason = [findings.recommendation["reason"]] if "reason" in findings.recommendation else []
    came = " ".join([chosen(findings, planned), *validated(findings)])
    return [*reason, came] if findings.curve is not None else [came, *reason]


def chosen(findings: Findings, planned: bool = False) -> str:
    """Say where the fine-tuned contender's recipe comes from, and how good it was on validation."""
    selected = findings.recipes[FINETUNED].selected
    if selected is None or FINETUNED not in findings.trials:
        changed = ", as the plan changed it to fit into the minutes" if planned else ""
        return f"The recipe is the configured one{changed}; no search was made."
    best = selected.get("best")
    if best is None:
        return (
            f"The recipe is that of trial {selected['trial']}, the best of {_rivals(findings)} by "
            f"{_measure(findings)} {_score(findings)}."
        )
    return (
        f"The recipe is that of trial {selected['trial']} {_score(findings)}: of "
        f"{_rivals(findings)} that with the most frozen units within one standard error of the best, "
        f"which is trial {best['trial']} ({percent(best['val_accuracy'])}), by {_measure(findings)}."
    )


def _rivals(findings: Findings) -> str:
    """Count the trials that it was the best of."""
    trials = findings.trials[FINETUNED]
    if findings.curve is None:
        return counted(len(trials), "trial")
    depth = findings.recipes[FINETUNED].depth
    own = int((trials["depth"] == depth).sum())
    return f"{counted(own, 'trial')} with {counted(depth, 'frozen unit')}"


def _measure(findings: Findings) -> str:
    images, folds = findings.validated_on
    if folds > 1:
        return f"accuracy in {folds}-fold cross-validation over {counted(images, 'picture')}"
    return f"accuracy on {counted(images, 'validation picture')}"


def _score(findings: Findings) -> str:
    selected = findings.recipes[FINETUNED].selected or {}
    measured, interval = percent(selected["val_accuracy"]), selected.get("corrected")
    if not interval:
        return f"({measured}; being the best of many, that number is optimistic)"
    choice = "having been selected" if findings.curve is None else "the choice of depth and recipe"
    return (
        f"({measured}; corrected for {choice}: **{percent(interval['mean'])}**, "
        f"{coverage(findings)} interval {percent_range(interval)})"
    )


def validated(findings: Findings) -> list[str]:
    """Say how trials were validated and why so, in a sentence; none where that was not told."""
    selected = findings.recipes[FINETUNED].selected or {}
    reason = (selected.get("validation") or {}).get("reason")
    return [reason] if reason else []


def uncertain(findings: Findings) -> list[str]:
    """Say what could not be told, a sentence each."""
    return [f"It could not be told {each}." for each in not_told(findings.metrics, findings.recommendation)]


def one_class(findings: Findings) -> str | None:
    """Warn where there is nothing to tell apart."""
    if len(findings.metrics["data"]["classes"]) > 1:
        return None
    return "There is only one class: every model is always right, and that says nothing."


def bundle(findings: Findings) -> list[str]:
    """Say what the file to predict with makes of these probabilities, and how many test pictures it does not
    know, a sentence each; none where it was not measured."""
    told = findings.metrics.get("answers")
    if told is None:
        return []
    before, after = (told["calibration"][when]["expected_calibration_error"] for when in ("before", "after"))
    lines = [
        f"The model that is kept divides its logits by {told['temperature']:.2f} before they become "
        f"probabilities: expected calibration error {percent_with_range(after)}, without that "
        f"{percent_with_range(before)}."
    ]
    if told["temperature"] == 1:
        lines = [f"The model that is kept has no temperature for its probabilities. {told['basis']}"]
    if (unknown := told.get("unknown")) is not None:
        seen = percent_with_range(unknown["on_test"])
        lines.append(f"It calls {seen} of the test pictures unknown: unlike all that it was trained on.")
        # before there was a basis in metrics.json
        lines += [unknown["basis"]] if "basis" in unknown else []
    return lines


def warnings(findings: Findings) -> list[str]:
    """Return what trainings say of themselves that nobody should overlook: a line for the source model and
    for each contender."""
    lines = []
    if "warning" in findings.costs["pretrain"]:
        lines.append(f"**The source model:** {findings.costs['pretrain']['warning']}")
    for name in findings.contenders:
        seeds = findings.costs[f"finetune/{name}"].get("seeds", {}).values()
        told = [seed["warning"] for seed in seeds if "warning" in seed]
        if told:
            lines.append(f"**{NAMES[name]}, {len(told)} of {counted(len(seeds), 'seed')}:** {told[0]}")
    return lines
