"""Figures of a whole study: its course, its depths and rates, and what accuracy cost."""

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from thawline.report.figures.best_so_far import best_so_far, course
from thawline.report.figures.depth_and_rate import cells, depth_and_rate
from thawline.report.figures.evidence import measured_by_depth
from thawline.report.figures.pareto import pareto_front
from thawline.report.figures.rates import learning_rates
from thawline.report.figures.style import render
from thawline.report.findings import FINETUNED, Findings

Found = Callable[..., Findings]


@pytest.mark.parametrize("make", [measured_by_depth, depth_and_rate, pareto_front])
def test_a_figure_without_something_to_show_is_left_out(make: Any, found: Found) -> None:
    assert make(found(trials=15)) is None
    assert make(found(searched=False)) is None


def with_trials(findings: Findings, **columns: Any) -> Findings:
    """The fine-tuned contender's trials replaced by complete ones with these columns."""
    table = pd.DataFrame({"state": "complete", "unit": "u", "val_loss": 0.1, "body_lr": 1e-3, **columns})
    findings.trials["finetuned"] = table.assign(number=range(len(table)))
    return findings


@pytest.mark.parametrize("constant", [{"depth": 3}, {"head_lr": 1e-3}, {"value": 0.9}])
def test_where_depth_rate_or_accuracy_never_changed_there_is_no_map(
    constant: dict[str, float], found: Found
) -> None:
    rates = np.geomspace(1e-4, 1e-2, 30)
    columns = {"depth": np.arange(30) % 3, "head_lr": rates, "value": rates}
    assert depth_and_rate(with_trials(found(), **columns)) is not None
    assert depth_and_rate(with_trials(found(), **columns | constant)) is None


# --- accuracy by depth


def test_the_curve_marks_the_recommended_depth_and_shades_those_alike(found: Found) -> None:
    findings = found(curve=True)
    picture = measured_by_depth(findings)
    assert picture is not None
    assert picture.sentence == (
        "With 4 units frozen, as recommended, 94.8 % of 200 validation pictures are right; "
        "0 to 5 frozen units are indistinguishable."
    )
    axes = render(picture, 50).axes[0]
    assert [line.get_xdata()[0] for line in axes.lines if line.get_label() == "recommended"] == [3.88]
    assert len(axes.patches) == 6


def test_a_depth_that_is_clearly_best_is_said_to_be(found: Found) -> None:
    findings = found(curve=True)
    assert isinstance(findings.recommendation, dict)
    findings.recommendation["indistinguishable_depths"] = [4]
    picture = measured_by_depth(findings)
    assert picture is not None
    assert picture.sentence.endswith("are right; chance does not explain its lead over the other depths.")
    assert not render(picture, 50).axes[0].patches
    assert findings.curve is not None
    alone = replace(findings, curve=findings.curve[findings.curve["depth"] == 4])
    picture = measured_by_depth(alone)
    assert picture is not None
    assert picture.sentence.endswith("are right; no other depth was tried.")


def test_test_accuracy_is_drawn_only_where_it_was_measured(found: Found) -> None:
    for tested in (True, False):
        picture = measured_by_depth(found(curve=True, tested=tested))
        assert picture is not None
        _, labels = render(picture, 50).axes[0].get_legend_handles_labels()
        assert ("test" in labels) is tested


# --- depth and rate


def test_a_cell_is_the_mean_of_its_trials() -> None:
    trials = pd.DataFrame(
        {"depth": [0, 0, 0, 2], "head_lr": [1e-4, 1.1e-4, 1e-2, 1e-3], "value": [0.8, 0.9, 0.7, 0.6]}
    )
    table = cells(trials, "head_lr")
    assert list(table.columns) == [0, 2]
    assert table.to_numpy()[0].tolist() == pytest.approx([0.85, np.nan], nan_ok=True)
    assert table[0].iloc[-1] == 0.7
    assert table.notna().sum().sum() == 3


def test_trials_without_a_body_rate_are_in_no_cell_of_it(found: Found) -> None:
    trials = pd.DataFrame({"depth": [0, 0, 3], "body_lr": [1e-4, 1e-3, np.nan], "value": [0.8, 0.9, 0.7]})
    assert cells(trials, "body_lr")[3].isna().all()


def test_a_rate_that_exists_at_times_but_never_changes_has_no_map(found: Found) -> None:
    rates = np.geomspace(1e-4, 1e-2, 30)
    depths = np.arange(30) % 3
    body = np.where(depths == 2, np.nan, 1e-3)
    picture = depth_and_rate(with_trials(found(), depth=depths, head_lr=rates, body_lr=body, value=rates))
    assert picture is not None
    titles = {axes.get_title(loc="left") for axes in render(picture, 50).axes}
    assert "head rate" in titles
    assert "body rate" not in titles


def test_where_every_head_was_solved_the_body_s_rate_is_shown(found: Found) -> None:
    rates = np.geomspace(1e-4, 1e-2, 30)
    changed = with_trials(found(), depth=np.arange(30) % 3, head_lr=np.nan, body_lr=rates, value=rates)
    picture = learning_rates(changed)
    assert picture is not None
    assert "the best learning rates were 1e-2 (body) for fine-tuned and" in picture.sentence
    own = [axes for axes in render(picture, 50).axes if axes.get_title(loc="left") == "fine-tuned"]
    assert own[0].get_xlabel() == "learning rate of the body"
    mapped = depth_and_rate(changed)
    assert mapped is not None
    assert "frozen and a body rate from" in mapped.sentence


# --- best so far


def trials(values: list[float], **columns: Any) -> pd.DataFrame:
    return pd.DataFrame({"number": range(len(values)), "state": "complete", "value": values, **columns})


def test_best_so_far_never_falls() -> None:
    each = course(trials([0.5, 0.4, 0.8, 0.7]))
    assert each.best.tolist() == [0.5, 0.5, 0.8, 0.8]
    assert each.place(2) == 2
    assert each.trials.tolist() == [1, 2, 3, 4]
    assert each.seconds is None


def test_pruned_trials_take_a_place_and_are_never_the_best() -> None:
    each = course(trials([0.5, 0.9, 0.6], state=["complete", "pruned", "complete"]))
    assert each.value.tolist() == [0.5, 0.6]
    assert each.trials.tolist() == [1, 3]


def test_the_time_between_two_calls_does_not_count() -> None:
    each = course(trials([0.1, 0.2, 0.3], started=[100.0, 110.0, 5000.0], finished=[110.0, 120.0, 5010.0]))
    assert each.seconds is not None
    assert each.seconds.tolist() == [10, 20, 30]


def test_trials_side_by_side_count_once_and_in_the_order_they_ended() -> None:
    each = course(trials([0.1, 0.2, 0.3], started=[100.0, 100.0, 104.0], finished=[112.0, 104.0, 109.0]))
    assert each.seconds is not None
    assert each.seconds.tolist() == [4, 9, 12]
    assert each.value.tolist() == [0.2, 0.3, 0.1]


def test_the_best_trial_is_the_one_that_the_study_takes(found: Found) -> None:
    """Of equal values it takes the cheapest, then that of the least loss: not the first to end."""
    findings = found()
    table = findings.trials[FINETUNED]
    findings.trials[FINETUNED] = table.assign(value=0.9, val_loss=1.0 / (1 + table["number"]))
    picture = best_so_far(findings)
    ranked = findings.ranked(FINETUNED)
    assert picture is not None
    assert ranked is not None
    assert f"(trial {ranked['number'].iloc[0]}) for fine-tuned" in picture.sentence
    assert ranked["number"].iloc[0] > 0


def test_the_best_trial_is_told_in_time_where_all_trials_know_theirs(found: Found) -> None:
    timed, untimed = best_so_far(found(timed=True)), best_so_far(found())
    assert timed is not None
    assert untimed is not None
    assert re.search(r"of 30 \(trial \d+, after .* s\)", timed.sentence)
    assert "after" not in untimed.sentence
    assert render(timed, 50).axes[0].get_xlabel() == "seconds of search"
    assert render(untimed, 50).axes[0].get_xlabel() == "trials"


# --- Pareto front


def test_the_front_is_told_from_its_cheapest_to_its_best(found: Found) -> None:
    findings = found(trials=60, front=True)
    picture = pareto_front(findings)
    assert findings.front is not None
    assert picture is not None
    assert picture.sentence.startswith(f"{len(findings.front)} recipes are not beaten in both accuracy and")
    assert len(render(picture, 50).axes[0].texts) == len(findings.front)


def test_of_three_trials_no_course_and_no_front_is_drawn(found: Found) -> None:
    findings = found(trials=60, front=True)
    complete = findings.trials["finetuned"].query("state == 'complete'")
    for few, drawn in ((3, False), (4, True)):
        some = replace(findings, trials={"finetuned": complete.head(few)})
        assert (best_so_far(some) is not None) is drawn
        assert (pareto_front(some) is not None) is drawn


def test_a_front_of_one_is_the_best_in_both(found: Found) -> None:
    findings = found(trials=60, front=True)
    assert findings.front is not None
    picture = pareto_front(replace(findings, front=findings.front.head(1)))
    assert picture is not None
    assert picture.sentence.endswith("is both the most accurate and the cheapest.")
