"""The answer in five lines."""

import shlex
from pathlib import Path
from typing import Any

import pytest

from thawline.answer import answer
from thawline.artifacts import (
    FORECAST,
    METRICS,
    RECOMMENDATION,
    REVIEW,
    SOURCES,
    Artifacts,
    read_json,
    write_json,
    write_text,
)
from thawline.review.findings import MorePictures, Review, write_review

METRIC = {"mean": 0.893, "low": 0.87, "high": 0.914}


@pytest.fixture(autouse=True)
def _in_the_clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def artifacts(
    root: Path,
    depth: int | str = 7,
    low: float = -0.01,
    same: tuple[int, ...] = (),
    best: dict[str, float] | None = None,
    doubtful: int = 9,
    linear_head: bool = True,
    **fields: Any,
) -> Artifacts:
    found = Artifacts.under(root)
    recipe = {"depth": depth, "body_lr": 3e-4, "head_lr": 3e-3, "phases": "one", "epochs": 8} | fields
    contender = {"accuracy": METRIC, "n_test": 700}
    resolved = {"recipe": recipe, "depth": 31 if depth == "all" else depth, "unit": "blocks.1.1"}
    resolved["linear_head"] = linear_head
    metrics = {
        "recipe": {**resolved, "selected": {"val_accuracy": 0.875, "best": best}},
        "finetuned": contender,
        "linear_probe": contender,
        "difference_linear_probe": {"accuracy": {"mean": 0.01, "low": low, "high": 0.03}},
    }
    write_json(found.reports / METRICS, metrics)
    looked = Review(300, doubtful, "", (), MorePictures((), None, ""))
    write_review(found.stage_output("review") / REVIEW, looked)
    best = same[0] if same else None
    write_json(found.reports / RECOMMENDATION, {"indistinguishable_depths": list(same), "best_depth": best})
    return found


def said(found: Artifacts) -> str:
    return "\n".join(answer(found, found.root / "fits" / "leaves", 272))


def test_it_says_how_good_how_much_frozen_at_which_rates_and_where_it_is(tmp_path: Path) -> None:
    text = said(artifacts(tmp_path))
    for words in (
        "accuracy   0.893 (0.870 to 0.914) on 700 test pictures; linear probe 0.893",
        "depth      the first 7 units frozen (up to blocks.1.1)",
        "rates      3e-3 (head) and 3e-4 (body); 8 epochs",
        "kept       fits/leaves/report/index.html, fits/leaves/model",
        "4 min 32 s in all",
    ):
        assert words in text


def test_the_command_that_predicts_can_be_pasted_whatever_the_folder_is_called(tmp_path: Path) -> None:
    found = artifacts(tmp_path)
    text = "\n".join(answer(found, tmp_path / "fits" / "moss & fern", 272))
    assert "  thawline predict --model 'fits/moss & fern/model' FILE|FOLDER" in text
    assert "  thawline predict --model fits/leaves/model FILE|FOLDER" in said(found)


def test_without_a_search_no_depth_was_compared(tmp_path: Path) -> None:
    found = artifacts(tmp_path)
    metrics = read_json(found.reports / METRICS)
    metrics["recipe"]["selected"] = None
    write_json(found.reports / METRICS, metrics)
    assert "not told   which depth is best: no other was tried (-S search=depth_curve gives each" in said(
        found
    )


def test_what_did_not_fit_into_the_minutes_is_said_with_those_it_would_fit_into(tmp_path: Path) -> None:
    found = artifacts(tmp_path)
    left_out = [["depths 0, 5, 2 min more", 8], ["30 epochs, 9 min more", 15]]
    write_json(found.stage_output("plan") / FORECAST, {"search": 1.0, "left_out": left_out})
    line = "left out   depths 0, 5, 2 min more: --minutes 8 has room for it"
    assert [each for each in answer(found, found.root / "fits" / "leaves", 272, True) if "left" in each] == [
        line
    ]
    # the forecast of an earlier plan says nothing of a fit without one
    assert "left out" not in said(found)


def test_a_solved_head_has_neither_rates_nor_epochs(tmp_path: Path) -> None:
    text = said(artifacts(tmp_path, depth="all"))
    assert "depth      only a linear head, solved (all 31 units frozen)\n" in text
    assert "rates      none" in text
    # it is the linear probe
    assert "linear probe" not in text


@pytest.mark.parametrize(
    ("story", "depth", "rates"),
    [
        (
            {"depth": 0, "start": "random", "body_lr": None},
            "every weight trained from a random start (nothing copied)",
            "3e-3; 8",
        ),
        (
            {"depth": "all", "linear_head": False},
            "only the head trained (all 31 units frozen)",
            "3e-3; 8",
        ),
        (
            {"depth": "all", "frozen_batch_norm": "affine"},
            "only the head trained (all 31 units frozen)",
            "3e-3 (head) and 3e-4 (body); 8",
        ),
        ({"depth": 0, "method": "lora"}, "LoRA in all units", "3e-3 (head) and 3e-4 (body); 8"),
        (
            {"depth": 1, "method": "bias"},
            "only biases learning in the units after blocks.1.1 (the first unit frozen)",
            "3e-3 (head) and 3e-4 (body); 8",
        ),
        (
            {"depth": 0, "units": ["stem", "head.1"]},
            "only stem, head.1 and the head learning",
            "3e-3 (head) and 3e-4 (body); 8",
        ),
        (
            {"depth": 7, "phases": "probe_first"},
            "a linear probe first, then the first 7 units frozen (up to blocks.1.1)",
            "3e-4; 8",
        ),
    ],
)
def test_it_says_what_learns_whatever_the_recipe_is(
    tmp_path: Path, story: dict[str, Any], depth: str, rates: str
) -> None:
    lines = said(artifacts(tmp_path, **story)).splitlines()
    assert f"depth      {depth}" in lines
    assert f"rates      {rates} epochs" in lines


def test_a_probe_whose_head_is_trained_is_not_compared_with_itself(tmp_path: Path) -> None:
    assert "linear probe" not in said(artifacts(tmp_path, depth="all", linear_head=False))
    assert "linear probe" in said(artifacts(tmp_path, depth="all", frozen_batch_norm="affine"))


def test_it_says_which_trial_measured_better_by_less_than_a_standard_error(tmp_path: Path) -> None:
    text = said(artifacts(tmp_path, depth="all", best={"trial": 5, "val_accuracy": 0.893}))
    assert "not told   whether trial 5 is better: right on 89.3 % of the validation pictures" in text
    assert "this one on 87.5 %, within one standard error" in text


@pytest.mark.parametrize(
    ("low", "same", "words"),
    [
        (-0.01, (), "whether the model is better than the linear probe"),
        (0.01, (), "which depth is best: none had fresh seeds"),
        (0.01, (7, 12), "which of the depths 7, 12 is best"),
    ],
)
def test_it_says_what_could_not_be_told(
    tmp_path: Path, low: float, same: tuple[int, ...], words: str
) -> None:
    text = said(artifacts(tmp_path, low=low, same=same))
    assert f"not told   {words}" in text
    assert ("better than the linear probe" in text) == (low < 0)


def test_a_depth_that_is_the_best_by_more_than_chance_leaves_nothing_untold(tmp_path: Path) -> None:
    assert "not told" not in said(artifacts(tmp_path, low=0.01, same=(7,)))


def test_it_says_so_where_more_than_a_fifth_of_the_labels_are_doubtful(tmp_path: Path) -> None:
    assert "labels " not in said(artifacts(tmp_path, doubtful=60))
    text = said(artifacts(tmp_path, doubtful=61))
    assert "labels     61 of 300 are doubtful: fits/leaves/report/labels.csv has the worst first" in text


def test_which_source_was_chosen_is_said_where_there_were_several(tmp_path: Path) -> None:
    found = artifacts(tmp_path)
    write_text(found.reports / SOURCES, "source,chosen,alike,pictures,accuracy\n")
    assert "source  " not in said(found)
    write_text(
        found.reports / SOURCES,
        "source,chosen,alike,pictures,accuracy\na,True,True,200,0.91\nb,False,False,200,0.8\n",
    )
    right = "91.0 % of 200 pictures right when they are left out"
    assert f"source     a is the best source by more than chance: {right}." in said(found)


def test_pictures_of_folds_are_called_so(tmp_path: Path) -> None:
    found = artifacts(tmp_path, best={"trial": 5, "val_accuracy": 0.893})
    metrics = read_json(found.reports / METRICS)
    metrics["recipe"]["selected"]["validation"] = {"folds": 5}
    write_json(found.reports / METRICS, metrics)
    assert "right on 89.3 % of the cross-validated pictures, this one on" in said(found)


def test_where_mistakes_cost_it_says_how_often_the_decisions_are_right(tmp_path: Path) -> None:
    found = artifacts(tmp_path)
    assert "decided" not in said(found)
    metrics = read_json(found.reports / METRICS)
    metrics["answers"] = {"costs": {"accuracy": {"mean": 0.8, "low": 0.75, "high": 0.84}}}
    write_json(found.reports / METRICS, metrics)
    assert "\ndecided    0.800 (0.750 to 0.840) of what it decides by what mistakes cost is right" in said(
        found
    )


def test_somewhere_else_whole_paths_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = artifacts(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    model = shlex.quote(str(found.root / "fits" / "leaves" / "model"))
    assert f"thawline predict --model {model} FILE|FOLDER" in said(found)
