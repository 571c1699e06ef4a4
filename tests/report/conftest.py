"""Stories of finished pipelines, each written once, and what is read and said of them."""

import shutil
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from tests_story import Story, write_story

from thawline.artifacts import Artifacts
from thawline.config.sections import Config
from thawline.report.costs import collect_costs
from thawline.report.figures.gallery import gallery
from thawline.report.findings import Findings, read_findings
from thawline.report.page import content
from thawline.report.rendering import readme, web_page

Finished = Callable[..., tuple[Config, Artifacts]]


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """Files of a pipeline that found what the keyword arguments (fields of `Story`) say, made once for all
    tests that only read them."""
    made: dict[str, Artifacts] = {}

    def make(**story: Any) -> tuple[Config, Artifacts]:
        told = Story(**story)
        if repr(told) not in made:
            made[repr(told)] = write_story(told, tmp_path_factory.mktemp("story"))
        return told.config, made[repr(told)]

    return make


@pytest.fixture
def finished(shared: Finished, tmp_path: Path) -> Finished:
    """The same files for one test, which may change them."""

    def make(**story: Any) -> tuple[Config, Artifacts]:
        config, artifacts = shared(**story)
        shutil.copytree(artifacts.root, tmp_path, dirs_exist_ok=True)
        return config, Artifacts.under(tmp_path)

    return make


@pytest.fixture(scope="session")
def found(shared: Finished) -> Callable[..., Findings]:
    """What the report reads of such files: read once, and a copy for each test, which may change it."""
    read: dict[Path, Findings] = {}

    def make(**story: Any) -> Findings:
        config, artifacts = shared(**story)
        if artifacts.root not in read:
            read[artifacts.root] = read_findings(artifacts, config)
        return deepcopy(read[artifacts.root])

    return make


@pytest.fixture(scope="session")
def rendered() -> Callable[[Config, Artifacts], tuple[str, str]]:
    """README.md and the page about files, with figures that nobody had to draw."""

    def render(config: Config, artifacts: Artifacts) -> tuple[str, str]:
        findings = read_findings(artifacts, config)
        costs = collect_costs(findings)
        figures = gallery(findings, costs)
        folder = artifacts.root / "figures"
        folder.mkdir(exist_ok=True)
        for name in (name for figure in figures.values() for name in figure.files().values()):
            (folder / name).write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
        told = content(config, findings, costs, figures)
        return readme(told), web_page(told, folder)

    return render


@pytest.fixture(scope="session")
def written(shared: Finished, rendered: Callable[[Config, Artifacts], tuple[str, str]]) -> Callable[..., str]:
    """README.md about a story, made once."""
    pages: dict[str, str] = {}

    def make(**story: Any) -> str:
        if repr(story) not in pages:
            pages[repr(story)], _ = rendered(*shared(**story))
        return pages[repr(story)]

    return make
