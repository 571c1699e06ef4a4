"""The stage that writes the page, its figures and the collected costs."""

from pathlib import Path

import pandas as pd

from thawline.artifacts import COSTS, LABELS, PAGE, STRATEGY, Artifacts, write_json, write_table, write_text
from thawline.config.sections import Config
from thawline.report.costs import collect_costs
from thawline.report.figures.gallery import gallery
from thawline.report.figures.style import write_picture
from thawline.report.findings import read_findings
from thawline.report.labels import labels_table
from thawline.report.page import content
from thawline.report.rendering import readme, web_page
from thawline.report.strategy import strategy


def report(config: Config, artifacts: Artifacts) -> None:
    """Write README.md, index.html, figures/, strategy.json, costs.json and labels.csv of the reports' folder.

    Figures of an earlier report that this one has nothing to show for are removed.
    """
    findings = read_findings(artifacts, config)
    folder = artifacts.reports
    costs = collect_costs(findings)
    pictures = gallery(findings, costs)
    written = [
        path
        for picture in pictures.values()
        for path in write_picture(picture, folder / "figures", config.report.dpi)
    ]
    _remove_others(folder / "figures", written)
    write_json(folder / COSTS, costs)
    write_json(folder / STRATEGY, strategy(findings))
    if (ranked := artifacts.stage("review") / LABELS).exists():
        table = pd.read_csv(ranked, dtype=str, keep_default_na=False)
        write_table(folder / LABELS, labels_table(table, findings.predictions, config.target.root))
    told = content(config, findings, costs, pictures)
    write_text(folder / "README.md", readme(told))
    write_text(folder / PAGE, web_page(told, folder / "figures"))


def _remove_others(folder: Path, written: list[Path]) -> None:
    for path in set(folder.glob("*.svg")) - set(written):
        path.unlink()
