"""The stage that writes the page, its figures and the collected costs."""

from pathlib import Path

from thawline.artifacts import COSTS, Artifacts, write_json, write_text
from thawline.config.sections import Config
from thawline.report.costs import collect_costs
from thawline.report.figures import gallery, write_picture
from thawline.report.findings import read_findings
from thawline.report.page import page


def report(config: Config, artifacts: Artifacts) -> None:
    """Write README.md, figures/ and costs.json of the reports' folder.

    Figures of an earlier report that this one has nothing to show for are removed.
    """
    findings = read_findings(artifacts, config.evaluate.confidence)
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
    write_text(folder / "README.md", page(config, findings, costs, pictures))


def _remove_others(folder: Path, written: list[Path]) -> None:
    for path in set(folder.glob("*.svg")) - set(written):
        path.unlink()
