"""The stage: what it writes, what it removes, what it does not import."""

import re
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from thawline.artifacts import Artifacts, read_json
from thawline.config.errors import UserError
from thawline.report.costs import collect_costs
from thawline.report.figures import gallery
from thawline.report.findings import read_findings
from thawline.report.page import content
from thawline.report.rendering import readme
from thawline.report.report import report


def test_page_figures_and_costs_are_written(finished: Callable[..., Any]) -> None:
    config, artifacts = finished()
    figures = artifacts.reports / "figures"
    figures.mkdir()
    (figures / "of_an_earlier_report-light.svg").touch()
    report(config, artifacts)
    names = sorted(path.name for path in artifacts.reports.iterdir())
    assert names == ["README.md", "costs.json", "figures", "index.html", "metrics.json", "strategy.json"]
    page = (artifacts.reports / "README.md").read_text()
    written = {f"figures/{path.name}" for path in figures.iterdir()}
    assert written == set(re.findall(r'(?:src|srcset)="([^"]*)"', page))
    assert len(written) == 16
    assert sum(path.stat().st_size for path in figures.iterdir()) < 1_000_000
    assert (artifacts.reports / "index.html").stat().st_size < 1_500_000


@pytest.mark.parametrize(
    ("skill", "left_out"),
    [
        ({"finetuned": 5.0, "linear_probe": 4.0}, "Not compared: from scratch (`contenders` leaves it out)."),
        ({"finetuned": 5.0, "from_scratch": 2.5}, "Not compared: linear probe (`contenders` leaves it out)."),
        (
            {"finetuned": 5.0},
            "Not compared: linear probe and from scratch (`contenders` leaves them out).",
        ),
    ],
)
@pytest.mark.parametrize("curve", [False, True])
def test_a_report_of_fewer_contenders_says_who_is_missing_and_shows_the_others(
    finished: Callable[..., Any], skill: dict[str, float], left_out: str, curve: bool
) -> None:
    config, artifacts = finished(skill=skill, curve=curve)
    findings = read_findings(artifacts, config.evaluate.confidence)
    costs = collect_costs(findings)
    page = readme(content(config, findings, costs, gallery(findings, costs)))
    assert left_out in page
    table = page.partition("| contender |")[2].partition("\n\n")[0].splitlines()
    assert len(table) == 2 + len(skill)
    shown = page.replace(left_out, "")
    others = {"linear_probe": "linear probe", "from_scratch": "scratch"}
    assert [words for name, words in others.items() if name not in skill and words in shown] == []


def test_one_contender_alone_has_figures(finished: Callable[..., Any]) -> None:
    config, artifacts = finished(skill={"finetuned": 5.0}, curve=True)
    report(config, artifacts)
    assert "contenders-light.svg" in {path.name for path in (artifacts.reports / "figures").iterdir()}


def test_a_report_by_hand_reads_the_pipelines_metrics(finished: Callable[..., Any]) -> None:
    config, artifacts = finished()
    by_hand = Artifacts.under(artifacts.root, "1234")
    assert by_hand.reports != artifacts.reports
    found = read_findings(by_hand, config.evaluate.confidence)
    assert found.metrics == read_json(artifacts.reports / "metrics.json")


@pytest.mark.parametrize(
    "name", ["evaluate/predictions.csv", "finetune/finetuned/history.csv", "search/linear_probe/recipe.json"]
)
def test_a_missing_artifact_is_named(finished: Callable[..., Any], name: str) -> None:
    config, artifacts = finished()
    (artifacts.outputs / name).unlink()
    with pytest.raises(UserError, match=rf"{name} does not exist.\n.*dvc repro"):
        report(config, artifacts)


def test_nothing_that_trains_is_imported() -> None:
    heavy = ("torch", "mlflow", "optuna", "pytorch_lightning")
    code = f"import sys, thawline.report.report; sys.exit(str([m for m in {heavy} if m in sys.modules]))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert found.stderr.strip() == "[]"
