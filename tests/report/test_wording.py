"""Sentences say what the numbers say, no more."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from thawline.report import wording
from thawline.report.findings import PROBE, SCRATCH, Findings
from thawline.report.recipes import answer, decided, single_seed


def with_gap(findings: Findings, mean: float, low: float, high: float) -> Findings:
    findings.metrics["difference"]["accuracy"] = {"mean": mean, "low": low, "high": high}
    return findings


@pytest.mark.parametrize(
    ("gap", "text"),
    [
        ((0.031, 0.019, 0.043), "gets **3.1 percentage points more** right than the same network trained"),
        ((-0.031, -0.043, -0.019), "gets **3.1 percentage points fewer** right than the same network"),
        ((0.004, -0.005, 0.012), "not distinguishable from the same network trained from scratch"),
        ((0.004, 0.0, 0.012), "interval 0.0 to +1.2, which contains zero"),
        ((0.0, 0.0, 0.0), "the difference of 0.0 percentage points"),
        ((0.031, 0.0002, 0.06), "interval +0.02 to +6.0; zero lies outside"),
    ],
)
def test_a_difference_is_claimed_only_where_zero_lies_outside(
    found: Callable[..., Findings], gap: tuple[float, float, float], text: str
) -> None:
    sentence = wording.compared(with_gap(found(), *gap), SCRATCH)
    assert sentence is not None
    assert text in sentence
    assert ("not distinguishable" in sentence) == (gap[1] <= 0 <= gap[2])


def test_an_absent_contender_is_not_compared(found: Callable[..., Findings]) -> None:
    findings = found(skill={"finetuned": 5.0, "from_scratch": 3.0})
    assert wording.compared(findings, PROBE) is None


def test_the_origin_of_the_recipe_is_told(found: Callable[..., Findings]) -> None:
    assert "trial 7, the best of 30 trials" in wording.chosen(found())
    assert "optimistic" in wording.chosen(found())
    assert wording.chosen(found(searched=False)) == "The recipe is the configured one; no search was made."
    # a plan with little time freezes everything, whatever was configured
    (told,) = wording.freezing(found(searched=False), planned=True)
    assert told.startswith("The recipe is the configured one, as the plan changed it to fit into the minutes")


def test_a_better_trial_that_is_not_told_from_the_chosen_one_is_named(found: Callable[..., Findings]) -> None:
    findings = found()
    recipe = findings.recipes["finetuned"]
    assert recipe.selected is not None
    selected = {**recipe.selected, "best": {"trial": 3, "val_accuracy": 0.98}}
    findings.recipes["finetuned"] = replace(recipe, selected=selected)
    text = wording.chosen(findings)
    assert "within one standard error of the best, which is trial 3 (98.0 %)" in text
    assert "trial 7" in text


def test_warnings_where_the_numbers_say_little(found: Callable[..., Findings]) -> None:
    usual = found()
    assert wording.one_class(usual) is None
    assert single_seed(usual) is None
    poor = found(classes=("only",), seeds=1)
    assert "only one class" in str(wording.one_class(poor))
    told = single_seed(poor)
    assert told is not None
    # the probe's head is solved: another seed makes the same one
    assert "Only one seed was trained (fine-tuned and from scratch)" in told


def test_a_model_that_is_solved_is_no_matter_of_seeds(found: Callable[..., Findings]) -> None:
    findings = found(seeds=1, recipe={"depth": "all"}, skill={"finetuned": 5.0, "linear_probe": 5.0})
    assert single_seed(findings) is None
    assert "seed" not in answer(findings)
    findings.metrics["finetuned"]["seeds"] = [0, 1]
    assert "mean of 2 seeds" in answer(findings)


def test_what_the_kept_model_makes_of_probabilities_is_told(found: Callable[..., Findings]) -> None:
    findings = found()
    assert wording.bundle(findings) == []
    error = {"mean": 0.043, "low": 0.01, "high": 0.06}
    when = {"expected_calibration_error": error}
    findings.metrics["answers"] = {"temperature": 1.069, "calibration": {"before": when, "after": when}}
    (tempered,) = wording.bundle(findings)
    assert "divides its logits by 1.07" in tempered
    assert "expected calibration error 4.3 % (1.0 to 6.0), without that 4.3 % (1.0 to 6.0)." in tempered
    seen = {"mean": 0.024, "low": 0.012, "high": 0.043}
    findings.metrics["answers"]["unknown"] = {"promised": 0.01, "on_test": seen, "basis": "No promise."}
    assert wording.bundle(findings)[1:] == [
        "It calls 2.4 % (1.2 to 4.3) of the test pictures unknown: unlike all that it was trained on.",
        "No promise.",
    ]
    findings.metrics["answers"] |= {"temperature": 1.0, "basis": "Nothing was held out."}
    told = wording.bundle(findings)[0]
    assert told == "The model that is kept has no temperature for its probabilities. Nothing was held out."


def test_decisions_by_costs_have_an_accuracy_of_their_own(found: Callable[..., Findings]) -> None:
    findings = found()
    assert decided(findings) is None
    findings.metrics["answers"] = {"costs": {"decisions": {}}}
    assert decided(findings) is None, "written before it was measured"
    findings.metrics["answers"]["costs"]["accuracy"] = {"mean": 0.8, "low": 0.75, "high": 0.84}
    assert str(decided(findings)).endswith("80.0 % (75.0 to 84.0) of these decisions are right.")


def test_what_a_training_says_of_itself_is_passed_on(found: Callable[..., Findings]) -> None:
    usual = found()
    assert wording.warnings(usual) == []
    usual.costs["pretrain"]["warning"] = "It knows nothing."
    usual.costs["finetune/finetuned"]["seeds"]["1"]["warning"] = "Neither does it."
    assert wording.warnings(usual) == [
        "**The source model:** It knows nothing.",
        "**fine-tuned, 1 of 3 seeds:** Neither does it.",
    ]
