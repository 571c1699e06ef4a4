"""Figures state what is seen and leave out what there is nothing to show for."""

import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from thawline.report.costs import collect_costs
from thawline.report.figures.confusion import confusion_counts, frequent_mistakes
from thawline.report.figures.contenders import contenders
from thawline.report.figures.depth import depth_curve
from thawline.report.figures.gallery import gallery
from thawline.report.figures.reliability import reliability
from thawline.report.figures.style import DARK, LIGHT, Picture, darkened, render, write_picture
from thawline.report.figures.training import training_curves
from thawline.report.findings import Findings

Make = Callable[..., tuple[Findings, dict[str, Picture]]]
ALONE: dict[str, Any] = {"skill": {"finetuned": 5.0}, "seeds": 1}
"""Of one model there are fewer predictions to write, where they have a column for each of many classes."""


@pytest.fixture
def drawn(found: Callable[..., Findings]) -> Make:
    def make(**story: Any) -> tuple[Findings, dict[str, Picture]]:
        findings = found(**story)
        return findings, gallery(findings, collect_costs(findings))

    return make


def test_a_searched_pipeline_has_every_figure(drawn: Make) -> None:
    assert list(drawn()[1]) == [
        "contenders",
        "accuracy_by_depth",
        "learning_rates",
        "best_so_far",
        "training_curves",
        "confusion",
        "reliability",
        "cost",
    ]


def test_without_a_search_its_figures_are_left_out(drawn: Make) -> None:
    _, pictures = drawn(searched=False)
    assert list(pictures) == ["contenders", "training_curves", "confusion", "reliability", "cost"]


@pytest.mark.parametrize(
    ("story", "names"),
    [
        ({"classes": tuple(f"class {n}" for n in range(100)), "test_pictures": 400, **ALONE}, ["confusion"]),
        ({"classes": ("only",), "test_pictures": 3}, ["contenders", "confusion", "reliability"]),
        ({"classes": ("$a$", "<b> & c", "猫"), "seeds": 1}, ["contenders", "confusion"]),
        ({"skill": {"finetuned": 50.0}}, ["contenders", "learning_rates", "training_curves", "confusion"]),
        ({"trials": 1}, ["learning_rates"]),
        ({"cuts": "9"}, ["accuracy_by_cut", "accuracy_by_depth"]),
    ],
    ids=["100 classes", "one class", "odd labels", "one contender", "one trial", "one cut"],
)
def test_unusual_findings_can_be_drawn(
    drawn: Make, story: dict[str, Any], names: list[str], tmp_path: Path
) -> None:
    pictures = drawn(**story)[1]
    for name in names:
        for path in write_picture(pictures[name], tmp_path / "figures", dpi=50):
            assert ElementTree.parse(path).getroot().tag.endswith("svg")
            assert path.stat().st_size < 150_000


def test_a_label_that_is_the_name_of_a_colour_stays_in_both_themes() -> None:
    light = f'<text style="fill: {LIGHT.ink}">{LIGHT.ink}</text>'
    assert darkened(light) == f'<text style="fill: {DARK.ink}">{LIGHT.ink}</text>'


@pytest.mark.parametrize(
    ("chosen", "end"),
    [
        ("5 7 9", "the cuts behind 5, 7 and 9 units together, 87.0 %."),
        ("9", "several together are not better by more than chance."),
    ],
)
def test_the_curve_of_single_cuts_names_its_peak(drawn: Make, chosen: str, end: str) -> None:
    assert drawn(cuts=chosen)[1]["accuracy_by_cut"].sentence == (
        "Of single cuts the one behind 5 units tells most (83.0 % of 240 training pictures, the last one "
        f"78.0 %); {end}"
    )


def test_heads_that_are_solved_have_no_curve_of_epochs(drawn: Make) -> None:
    findings, pictures = drawn(depth=9)
    assert "training_curves" in pictures
    alone = {name: table for name, table in findings.histories.items() if name != "from_scratch"}
    assert training_curves(replace(findings, histories=alone)) is None


def test_rates_are_called_what_the_recipe_makes_of_them(drawn: Make) -> None:
    assert "(head) and " in drawn(depth=0)[1]["learning_rates"].sentence
    sentence = drawn(depth=0, recipe={"phases": "probe_first"})[1]["learning_rates"].sentence
    assert "(head alone) and " in sentence
    assert "(then everything) for fine-tuned" in sentence


def test_the_title_over_the_contenders_claims_no_more_than_the_intervals(drawn: Make) -> None:
    better = drawn()[1]["contenders"].sentence
    assert "points above training from scratch" in better
    equal = drawn(skill={"finetuned": 3.0, "linear_probe": 3.0, "from_scratch": 3.0})[1][
        "contenders"
    ].sentence
    assert equal.endswith("right, not distinguishable from training from scratch or the linear probe.")


def test_where_the_probe_is_the_model_no_lead_over_it_is_drawn(drawn: Make) -> None:
    findings, _ = drawn(depth=9)
    none = dict.fromkeys(("mean", "low", "high"), 0.0)
    changed = {"difference_linear_probe": {"accuracy": none}}
    findings = replace(findings, metrics={**findings.metrics, **changed})
    picture = contenders(findings)
    assert "points above training from scratch" in picture.sentence
    assert picture.sentence.endswith("; it is the linear probe.")
    accuracies, leads = render(picture, 50).axes
    assert [label.get_text() for label in leads.get_yticklabels()] == ["over from scratch"]
    names = [label.get_text() for label in accuracies.get_yticklabels()]
    assert names == ["from scratch", "fine-tuned: the linear probe"]
    curve, _ = render(reliability(findings), 50).axes
    names = [label.get_text() for label in curve.get_legend().get_texts()]
    assert names == ["calibrated", "fine-tuned: the linear probe", "from scratch"]


def test_what_is_right_on_the_same_pictures_is_not_the_same_model(drawn: Make) -> None:
    findings, _ = drawn(depth=3)
    none = dict.fromkeys(("mean", "low", "high"), 0.0)
    changed = {key: {"accuracy": none} for key in ("difference", "difference_linear_probe")}
    picture = contenders(replace(findings, metrics={**findings.metrics, **changed}))
    assert picture.sentence.endswith(
        "; training from scratch and the linear probe are right on the same ones."
    )
    (accuracies,) = render(picture, 50).axes
    names = [label.get_text() for label in accuracies.get_yticklabels()]
    assert names == ["from scratch", "linear probe", "fine-tuned"]


def curve_of(findings: Findings, rows: list[tuple[int, float, str]]) -> Any:
    table = pd.DataFrame(rows, columns=["depth", "value", "state"])
    more = {"unit": "u", "val_loss": 1 - table["value"], "head_lr": 1e-3, "body_lr": 1e-3, "seconds": 1.0}
    findings.trials["finetuned"] = table.assign(number=range(len(table)), **more)
    return depth_curve(findings)


def test_the_depth_curve_is_the_best_complete_trial_of_each_depth(drawn: Make) -> None:
    findings, _ = drawn()
    curve = curve_of(
        findings,
        [(0, 0.9, "complete"), (0, 0.8, "complete"), (3, 0.95, "complete"), (5, 0.99, "pruned")],
    )
    assert curve.best["depth"].tolist() == [0, 3]
    assert curve.best["value"].tolist() == [0.9, 0.95]
    assert curve.top["depth"] == 3
    assert curve.equals == [3]


def test_depths_within_the_interval_of_the_chosen_are_named(drawn: Make) -> None:
    findings, _ = drawn()
    trials = [(0, 0.94, "complete"), (3, 0.95, "complete"), (4, 0.96, "complete"), (6, 0.7, "complete")]
    curve_of(findings, trials)
    sentence = gallery(findings, collect_costs(findings))["accuracy_by_depth"].sentence
    assert sentence == (
        "With 3 units frozen, 95.0 % of 200 validation pictures are right; "
        "with 0 and 4 frozen the best trials lie within its 95 % interval."
    )


def test_cross_validated_trials_were_right_on_other_pictures_than_the_validation_split(drawn: Make) -> None:
    findings, _ = drawn(selected={"images": 4_000, "validation": {"kind": "kfold", "folds": 5}})
    curve = curve_of(findings, [(0, 0.94, "complete"), (3, 0.95, "complete")])
    assert curve.equals == [3]
    assert curve.top["high"] - curve.top["low"] == pytest.approx(
        2 * 1.96 * (0.95 * 0.05 / 4_000) ** 0.5, rel=0.02
    )
    sentence = gallery(findings, collect_costs(findings))["accuracy_by_depth"].sentence
    assert "95.0 % of 4,000 cross-validated pictures are right" in sentence


def test_one_depth_is_no_curve(drawn: Make) -> None:
    assert curve_of(drawn()[0], [(3, 0.9, "complete"), (3, 0.8, "complete")]) is None


def test_confusion_counts_are_pictures_in_the_mean_over_seeds(drawn: Make) -> None:
    findings, _ = drawn()
    counts = confusion_counts(findings)
    assert counts.sum() == pytest.approx(300)
    np.testing.assert_allclose(counts.sum(1), 30)
    accuracy = findings.metrics["finetuned"]["accuracy"]["mean"]
    assert np.trace(counts) / 300 == pytest.approx(accuracy, abs=1e-6)


def test_frequent_mistakes_are_listed_where_cells_have_no_numbers(drawn: Make) -> None:
    assert frequent_mistakes(drawn()[0]) == []
    many, _ = drawn(classes=tuple(f"c{number}" for number in range(40)), test_pictures=400, **ALONE)
    listed = frequent_mistakes(many, most=4)
    assert len(listed) == 4
    assert all(truth != taken for truth, taken, _ in listed)
    numbers = [float(count) for _, _, count in listed]
    assert numbers == sorted(numbers, reverse=True)


def test_a_model_without_mistakes_is_said_to_have_none(drawn: Make) -> None:
    pictures = drawn(skill={"finetuned": 50.0})[1]
    assert pictures["confusion"].sentence == "Every test picture is labelled correctly by every seed."
