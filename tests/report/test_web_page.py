"""The page is one file that asks nobody for anything, says what README.md says, and shows pictures."""

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from html import unescape
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from thawline.artifacts import Artifacts, read_json, write_json
from thawline.data.thumbnails import write_thumbnail

Rendered = Callable[..., tuple[str, str]]

HOSTILE = '"><script>alert(1)</script><img src=http://a.b onerror=x>'
CLASSES = ("ant", "bee", HOSTILE)


def entry(folder: Path, name: str, label: str = "ant", **more: Any) -> dict[str, Any]:
    """A picture as stages describe it, with its thumbnail."""
    random = np.random.default_rng(len(name))
    thumbnail = write_thumbnail(folder / f"{len(name)}.webp", random.integers(0, 256, (24, 24, 3), np.uint8))
    return {"path": name, "label": label, "said": "train", "thumbnail": thumbnail, **more}


def add_pictures(artifacts: Artifacts) -> None:
    """Let stages have left pictures, some of them with names that are markup."""
    folder = artifacts.data_output("pictures")
    counts = {"different": 1, "common": [["24 × 24", 90]]}
    broken = {"path": f"{HOSTILE}.png", "label": HOSTILE, "said": "the file is empty", "thumbnail": None}
    value = {
        "counts": {},
        "notes": [],
        "not_needed": 0,
        "sizes": counts,
        "kinds": {"different": 1, "common": [["PNG, RGB", 90]]},
        "groups": [4, 2],
        "extremes": {"darkest": [entry(folder, "dark.png")], "smallest": [entry(folder, "small.png")]},
        "near_duplicates": {
            "groups": 1,
            "pictures": 2,
            "shown": [{"pictures": 2, "shown": [entry(folder, "one.png"), entry(folder, "other.png")]}],
        },
        "left_out": [{"reason": "cannot be read", "pictures": 3, "shown": [broken]}],
    }
    write_json(folder / "pictures.json", value)
    folder = artifacts.stage_output("evaluate", "pictures")
    wrong = {"predicted": HOSTILE, "seeds": 2, "confidence": 0.987, "map": None}
    worst = entry(folder, f"{HOSTILE}/1.png", **wrong)
    cell = {"label": "ant", "predicted": HOSTILE, "pictures": 1, "shown": [worst]}
    mapped = {**worst, "map": worst["thumbnail"]}
    told = {"seeds": 3, "cells": [cell], "worst": [mapped], "map_after": "layer4.1"}
    write_json(folder / "mistakes.json", told)


def add_review(artifacts: Artifacts) -> None:
    folder = artifacts.stage_output("review")
    doubt = entry(folder / "pictures", f"{HOSTILE}.png", likelier="bee", confidence=0.91)
    point = {"pictures": 40, "accuracy": 0.8, "low": 0.7, "high": 0.875}
    more = {"points": [point], "sentence": "Twice as many: +1 to +4 points."}
    write_json(folder / "review.json", {"labels": [doubt], "more_pictures": more})


@pytest.fixture
def pages(finished: Callable[..., Any], rendered: Rendered) -> Callable[..., str]:
    """The page about a story, with what stages left of pictures."""

    def make(*left: Callable[[Artifacts], None], **story: Any) -> str:
        config, artifacts = finished(**story)
        for leave in left:
            leave(artifacts)
        return rendered(config, artifacts)[1]

    return make


def sections(page: str) -> list[str]:
    return re.findall(r'<section id="(\w+)">', page)


def test_everything_that_stages_left_is_shown_in_order(pages: Callable[..., str]) -> None:
    page = pages(add_pictures, add_review, classes=CLASSES, curve=True)
    order = ["freeze", "contenders", "uncertain", "pictures", "labels", "more", "mistakes", "cost", "details"]
    assert sections(page) == order
    for words in (
        "24 × 24 (90)",
        "6 pictures of 560 in 2 groups, the largest with 4; a group stays in one split",
        "2 pictures in 1 group that look alike",
        "<h3>3 left out: cannot be read</h3>",
        "2 more are not shown.",
        "rather bee (91.0\N{NO-BREAK SPACE}%)",
        "Twice as many: +1 to +4 points.",
        "70.0\N{NO-BREAK SPACE}% to 87.5\N{NO-BREAK SPACE}%",
        "98.7\N{NO-BREAK SPACE}% sure",
        "2 of 3 seeds",
        "Grad-CAM at the last cut with rows and columns, in <code>layer4.1</code>",
    ):
        assert words in page


def test_names_of_classes_and_files_are_no_markup(pages: Callable[..., str]) -> None:
    page = pages(add_pictures, add_review, classes=CLASSES, curve=True)
    assert "<script" not in page
    assert "<img src=http" not in page
    assert page.count(f"<p>{HOSTILE}</p>") == 0
    assert unescape(page).count(HOSTILE) > 10


def test_nothing_is_fetched_from_anywhere(pages: Callable[..., str]) -> None:
    page = pages(add_pictures, add_review)
    addresses = re.findall(r'\s(?:src|srcset|href|action|data)="([^"]*)"', page)
    assert {address[:5] for address in addresses if not address.startswith("#")} == {"data:"}
    assert "url(" not in page
    assert "@import" not in page
    assert "default-src 'none'" in page


def test_each_number_of_mistakes_leads_to_its_pictures(pages: Callable[..., str]) -> None:
    page = pages(add_pictures, classes=CLASSES)
    leads = set(re.findall(r'<td class="wrong"[^>]*><a href="#([^"]+)">', page))
    assert leads == {"mistakes-1"}
    assert leads <= set(re.findall(r' id="([^"]+)"', page))
    assert set(re.findall(r'href="#([^"]+)"', page)) <= set(re.findall(r' id="([^"]+)"', page))


def test_what_no_stage_left_is_not_spoken_of(pages: Callable[..., str]) -> None:
    page = pages()
    assert sections(page) == ["freeze", "contenders", "pictures", "mistakes", "cost", "details"]
    assert "Grad-CAM" not in page


def without_maps(artifacts: Artifacts) -> None:
    file = artifacts.stage("evaluate", "pictures") / "mistakes.json"
    write_json(file, {**read_json(file), "map_after": None})


def test_a_network_without_a_map_says_so(pages: Callable[..., str]) -> None:
    page = pages(add_pictures, without_maps, classes=CLASSES)
    assert "This network has no map of rows and columns" in page
    assert "Grad-CAM" not in page


def test_of_many_classes_the_frequent_mistakes_are_listed(pages: Callable[..., str]) -> None:
    page = pages(classes=tuple(f"c{number}" for number in range(30)), seeds=1)
    assert '<table class="matrix">' not in page
    assert "<th>taken for</th>" in page


def test_equal_findings_give_equal_bytes(finished: Callable[..., Any], rendered: Rendered) -> None:
    config, artifacts = finished(curve=True)
    add_pictures(artifacts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("thawline.report.costs.datetime", later())
        first = rendered(config, artifacts)
    second = rendered(config, artifacts)
    assert first[0] != second[0], "README.md says when it was written"
    assert first[1] == second[1]


def later() -> Any:
    """A clock that is an hour ahead."""
    return SimpleNamespace(now=lambda zone: datetime.now(zone) + timedelta(hours=1))


def words(text: str) -> str:
    return " ".join(re.findall(r"\w+", text))


def test_the_page_says_what_the_readme_says(finished: Callable[..., Any], rendered: Rendered) -> None:
    config, artifacts = finished(curve=True)
    add_pictures(artifacts)
    told, page = rendered(config, artifacts)
    assert (
        "| groups | 6 pictures of 700 in 2 groups, the largest with 4; a group stays in one split |" in told
    )
    assert "| cannot be read | 3 |" in told
    shown = words(re.sub(r"<[^>]+>", " ", unescape(page)))
    assert words(told.splitlines()[4]) in shown
    for row in re.findall(r"^\| (.*) \|\n(?!\| --)", told, re.M):
        assert [cell for cell in row.split(" | ") if words(cell) not in shown] == []


def test_sources_that_were_compared_are_a_table(pages: Callable[..., str]) -> None:
    assert "nearest neighbours</th>" not in pages()
    page = pages(sources=True)
    assert '<th scope="row"><strong>mobilenet_v2=body.pth</strong></th>' in page
    assert '<th scope="row">resnet18</th>' in page
