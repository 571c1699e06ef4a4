"""The stage: what it writes, what it removes, how all figures look, what it does not import."""

import base64
import io
import re
import shutil
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from thawline.artifacts import STRATEGY, Artifacts, read_json
from thawline.config.errors import UserError
from thawline.config.sections import Config
from thawline.report.costs import collect_costs
from thawline.report.figures.gallery import gallery
from thawline.report.figures.style import DARK, LIGHT, THEMES, Picture, Theme, write_picture
from thawline.report.findings import Findings, read_findings
from thawline.report.report import report
from thawline.report.strategy import strategy

EVERYTHING: dict[str, Any] = {
    **dict.fromkeys(("curve", "front", "timed", "reviewed", "sources"), True),
    "cuts": "5 7 9",
    "trials": 100,
}
TEXT, IMAGE = "{http://www.w3.org/2000/svg}text", "{http://www.w3.org/2000/svg}image"
PNG = "data:image/png;base64,"


@pytest.fixture(scope="module")
def reported(shared: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Artifacts:
    """The report on a pipeline that did everything there is a figure for, made once."""
    config, artifacts = shared(**EVERYTHING)
    root = tmp_path_factory.mktemp("reported")
    shutil.copytree(artifacts.root, root, dirs_exist_ok=True)
    copied = Artifacts.under(root)
    figures = copied.reports / "figures"
    figures.mkdir()
    (figures / "of_an_earlier_report-light.svg").touch()
    report(config, copied)
    return copied


@pytest.fixture(scope="module")
def pictures(found: Callable[..., Findings]) -> dict[str, Picture]:
    findings = found(**EVERYTHING)
    return gallery(findings, collect_costs(findings))


def drawings(reported: Artifacts, theme: Theme) -> dict[str, str]:
    """The text of each figure in a theme."""
    ending = f"-{theme.name}.svg"
    paths = (reported.reports / "figures").glob(f"*{ending}")
    return {path.name.removesuffix(ending): path.read_text() for path in paths}


def test_pages_costs_and_strategy_are_written(reported: Artifacts, found: Callable[..., Findings]) -> None:
    written = {"README.md", "index.html", "costs.json", "strategy.json", "figures"}
    assert {path.name for path in reported.reports.iterdir()} == written | {
        *("metrics.json", "recommendation.json", "depth_curve.csv", "sources.csv")
    }
    told = read_json(reported.reports / STRATEGY)
    assert told == strategy(found(**EVERYTHING))


def test_each_figure_is_on_the_page_in_both_themes_and_no_other_is_kept(
    reported: Artifacts, pictures: dict[str, Picture]
) -> None:
    page = (reported.reports / "README.md").read_text()
    written = {f"figures/{path.name}" for path in (reported.reports / "figures").iterdir()}
    assert written == set(re.findall(r'(?:src|srcset)="([^"]*)"', page))
    assert written == {f"figures/{name}-{theme.name}.svg" for name in pictures for theme in THEMES}
    assert len(pictures) == 13


def test_figures_and_the_page_that_holds_them_are_small(reported: Artifacts) -> None:
    sizes = [path.stat().st_size for path in (reported.reports / "figures").iterdir()]
    assert max(sizes) < 150_000
    assert (reported.reports / "index.html").stat().st_size < 1_500_000


def test_the_title_of_each_figure_is_one_sentence(reported: Artifacts, pictures: dict[str, Picture]) -> None:
    for theme in THEMES:
        for name, svg in drawings(reported, theme).items():
            texts = ElementTree.fromstring(svg).iter(TEXT)
            lines = [str(each.text) for each in texts if "font-weight: 700" in each.get("style", "")]
            sentence = pictures[name].sentence
            # a line may end after a space or a hyphen
            assert "".join(lines).replace(" ", "") == sentence.replace(" ", "")
            assert sentence.endswith(".")
            assert ". " not in sentence


def test_every_colour_has_its_counterpart_in_the_other_theme(reported: Artifacts) -> None:
    for theme in THEMES:
        used = set(re.findall("#[0-9a-f]{6}", "".join(drawings(reported, theme).values())))
        assert used <= {*theme.colors, theme.errors}
        assert {theme.background, theme.ink, *theme.contenders.values()} < used
    dark = dict(zip(LIGHT.colors, DARK.colors, strict=True))
    for name, light in drawings(reported, LIGHT).items():
        expected = re.sub("#[0-9a-f]{6}", lambda found: dark.get(found[0], found[0]), light)
        assert drawings(reported, DARK)[name] == expected


def test_rasters_hold_the_colour_of_mistakes_alone(reported: Artifacts) -> None:
    """So they are right on either background."""
    rasters = {
        name: [image.get("{http://www.w3.org/1999/xlink}href", "") for image in images]
        for name, svg in drawings(reported, DARK).items()
        if (images := list(ElementTree.fromstring(svg).iter(IMAGE)))
    }
    assert list(rasters) == ["confusion"]
    red_green_blue = [int(LIGHT.errors[place : place + 2], 16) for place in (1, 3, 5)]
    for address in rasters["confusion"]:
        assert address.startswith(PNG)
        content = base64.b64decode(address.removeprefix(PNG))
        pixels = np.asarray(Image.open(io.BytesIO(content)).convert("RGBA")).astype(int)
        seen = pixels[pixels[..., 3] > 0]
        assert len(seen) > 100
        assert np.abs(seen[:, :3] - red_green_blue).max() <= 2
        assert seen[:, 3].max() < 255


def test_equal_findings_give_equal_bytes(
    reported: Artifacts, pictures: dict[str, Picture], tmp_path: Path
) -> None:
    """One has a raster."""
    for name in ("confusion", "depth_and_rate"):
        for path in write_picture(pictures[name], tmp_path, Config().report.dpi):
            assert path.read_bytes() == (reported.reports / "figures" / path.name).read_bytes()


@pytest.mark.parametrize(
    ("curve", "skill", "left_out"),
    [
        (
            False,
            {"finetuned": 5.0, "linear_probe": 4.0},
            "Not compared: from scratch (`contenders` leaves it out).",
        ),
        (
            True,
            {"finetuned": 5.0},
            "Not compared: linear probe and from scratch (`contenders` leaves them out).",
        ),
    ],
)
def test_a_report_of_fewer_contenders_says_who_is_missing_and_shows_the_others(
    written: Callable[..., str], curve: bool, skill: dict[str, float], left_out: str
) -> None:
    page = written(skill=skill, curve=curve)
    assert left_out in page
    table = page.partition("| contender |")[2].partition("\n\n")[0].splitlines()
    assert len(table) == 2 + len(skill)
    shown = page.replace(left_out, "")
    others = {"linear_probe": "linear probe", "from_scratch": "scratch"}
    assert [words for name, words in others.items() if name not in skill and words in shown] == []


def test_a_report_by_hand_reads_the_pipelines_metrics(finished: Callable[..., Any]) -> None:
    config, artifacts = finished()
    by_hand = Artifacts.under(artifacts.root, "1234")
    assert by_hand.reports != artifacts.reports
    found = read_findings(by_hand, config)
    assert found.metrics == read_json(artifacts.reports / "metrics.json")


@pytest.mark.parametrize("name", ["evaluate/predictions.csv", "search/linear_probe/recipe.json"])
def test_a_missing_artifact_is_named(finished: Callable[..., Any], name: str) -> None:
    config, artifacts = finished()
    (artifacts.outputs / name).unlink()
    with pytest.raises(UserError, match=rf"{name} does not exist.\n.*dvc repro"):
        report(config, artifacts)
