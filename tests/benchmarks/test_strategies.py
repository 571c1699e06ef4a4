"""The rule that is fitted to measured strategies, and what following it costs."""

import json
import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from tests_benchmarks import loaded

from thawline.strategy.rule import PROBE, Facts, advise


@pytest.fixture
def fit() -> ModuleType:
    return loaded("strategy_fit")


def subset(fit: ModuleType, data: str, each: int, best: float, **gains: float) -> Any:
    """Made up: 400 test pictures, of which the probe gets the share `best` right and others `gains` more."""
    places = np.random.default_rng(0).permutation(400)
    shares = dict.fromkeys((*fit.ORDER, "last_cut"), best - 0.05) | {PROBE: best}
    shares |= {name: best + gain for name, gain in gains.items()}
    right = {name: places < 400 * share for name, share in shares.items()}
    return fit.Measured(data, "lite0", Facts(2 * each, 2, best, best, 1.0), right)


def world(fit: ModuleType, gain: float) -> list[Any]:
    """Four data sets of which half freezing gains `gain` from 20 pictures of a class on."""
    return [
        subset(fit, data, each, 0.8 + 0.01 * place, half_frozen=gain if each >= 20 else -gain)
        for place, data in enumerate("abcd")
        for each in (5, 10, 20, 40)
    ]


def test_what_is_in_the_measurements_is_found(fit: ModuleType) -> None:
    rule = fit.fitted(world(fit, 0.05))
    ((number, least),) = [(each.number, each.least) for each in rule.conditions]
    assert number in ("each", "pictures")
    assert 10 < least <= 40
    assert (rule.freeze.strategy, rule.unfreeze.strategy) == (PROBE, "half_frozen")
    assert rule.unfreeze.gain == pytest.approx(0.05, abs=0.003)
    assert (rule.freeze.subsets, rule.unfreeze.subsets) == (8, 8)
    assert (rule.each, rule.classes) == ((5, 40), (2, 2))


def test_a_gain_that_is_not_worth_a_condition_adds_none(fit: ModuleType) -> None:
    rule = fit.fitted(world(fit, 0.002))
    assert rule.conditions == ()
    assert rule.freeze.strategy == PROBE


def test_a_strategy_that_is_better_everywhere_needs_no_condition(fit: ModuleType) -> None:
    units = [subset(fit, data, each, 0.8, lp_ft=0.05) for data in "abc" for each in (5, 10, 20)]
    rule = fit.fitted(units)
    assert (rule.conditions, rule.freeze.strategy) == ((), "lp_ft")
    assert advise(units[0].facts, rule).side.strategy == "lp_ft"


def test_advice_is_judged_on_a_data_set_that_it_was_not_fitted_to(fit: ModuleType) -> None:
    # the other three say nothing of the one in which everything is different
    odd = [subset(fit, "e", each, 0.5, full=0.3) for each in (5, 10, 20, 40)]
    advised = fit.left_out([*world(fit, 0.05), *odd])
    assert advised[-4:] == [PROBE, PROBE, "half_frozen", "half_frozen"]


def test_regret_is_measured_on_pictures_that_hindsight_did_not_see(fit: ModuleType) -> None:
    unit = subset(fit, "a", 5, 0.8, half_frozen=0.1)
    assert fit.regret(unit, PROBE) == pytest.approx(0.1, abs=0.01)
    assert fit.regret(unit, "half_frozen") == 0
    # of strategies that are equally good, hindsight takes the one that was lucky in the half that it saw
    noise = np.random.default_rng(1).random((len(fit.ORDER), 400)) < 0.8
    lucky = fit.Measured("a", "lite0", unit.facts, dict(zip(fit.ORDER, noise, strict=True)))
    regrets = [fit.regret(lucky, name) for name in fit.ORDER]
    assert abs(np.mean(regrets)) < 0.02


def test_means_are_of_data_sets_not_of_subsets(fit: ModuleType) -> None:
    pairs = [(("a", "lite0"), 0.1)] * 9 + [(("b", "lite0"), 0.3)]
    mean, low, high = fit.mean_of(pairs)
    assert mean == pytest.approx(0.2)
    assert low < 0 < high
    assert fit.mean_of(pairs[:9]) == (pytest.approx(0.1), None, None)


def test_every_subset_is_seen_before_any_is_seen_again(page: ModuleType) -> None:
    order = list(page.cells())
    assert len(set(order)) == len(order)
    for name in page.STRATEGIES:
        seeds = [each.subset.seed for each in order if each[1:] == (name, "")]
        assert seeds == sorted(seeds)
        assert len(seeds) == 3 * 5 * 2 * 4


@pytest.fixture
def page() -> ModuleType:
    return loaded("strategy_page")


def finished(page: ModuleType, folder: Path) -> Any:
    return page.Finished(folder, folder / "strategies.json")


def keep(page: ModuleType, folder: Path, data: str, *, moving: int, half: int) -> None:
    """Write cells of one seed: of 100 test pictures so many are right."""
    cells = finished(page, folder)
    for each in page.cells():
        if each.subset[:2] != (data, "lite0") or each.subset.seed or each.strategy == "lora":
            continue
        right = {("half_frozen", ""): half, ("lp_ft", "moving"): moving}.get(each[1:], 80)
        digits = "1" * right + "0" * (100 - right)
        heads = (
            {"several": digits, "classes": 2, "units": 4, "cuts": [2, 4]} if each.strategy == "heads" else {}
        )
        heads |= {"singles": {"2": [0.7, 0.5], "4": [0.6, 0.9]}} if heads else {}
        heads |= {"sets": [[[4], 0.6, 0.9], [[2, 4], 0.8, 0.4]]} if heads else {}
        cells.fresh(each).parent.mkdir(exist_ok=True)
        found = {"correct": digits, "pictures": 2 * each.subset.each, **heads}
        cells.fresh(each).write_text(json.dumps(found))


def test_a_prior_is_what_beats_the_usual_recipe_by_more_than_chance(page: ModuleType, tmp_path: Path) -> None:
    for data in ("digits", "rsscn7", "signdigits"):
        keep(page, tmp_path, data, moving=70, half=85)
    assert page.prior(finished(page, tmp_path)) is None, "three data sets are too few"
    keep(page, tmp_path, "hotdog256", moving=75, half=85)
    assert page.prior(finished(page, tmp_path)) == page.Prior(0.5, 3e-4)
    keep(page, tmp_path, "hotdog256", moving=95, half=60)
    assert page.prior(finished(page, tmp_path)) is None


def test_tables_and_numbers_are_of_the_cells_that_are_there(page: ModuleType, tmp_path: Path) -> None:
    document, module = tmp_path / "docs" / "strategy.md", tmp_path / page.RULE
    document.parent.mkdir()
    module.parent.mkdir(parents=True)
    names = ("done", "accuracies", "regrets", "variants", "others")
    document.write_text("\n".join(f"<!-- {name}: begin -->\nold\n<!-- {name}: end -->" for name in names))
    keep(page, tmp_path, "digits", moving=70, half=85)
    page.write(finished(page, tmp_path), tmp_path)
    assert "Not told yet: too few data sets are finished." in document.read_text()
    assert "4 of 120 subsets are measured. That is too little for a rule." in document.read_text()
    assert "RULE: Rule | None = None" in module.read_text()
    for data in ("hotdog256", "rsscn7", "signdigits"):
        keep(page, tmp_path, data, moving=70, half=85)
    page.write(finished(page, tmp_path), tmp_path)
    text = document.read_text()
    assert "old" not in text
    advice = "They support no condition: the advice is **freezing half**, whatever the pictures."
    assert f"subsets are measured. {advice}" in text
    assert "| digits | lite0 | 5 | 1 | 0.800 | 0.800 | 0.800 | 0.800 | **0.850** | 0.800 | 0.800 |" in text
    assert "| always probe | +5.0 | +5.0 | +5.0 | +5.0 | +5.0 (+5.0 to +5.0) |" in text
    assert "| lp ft | 8 | +0.0 (+0.0 to +0.0) | +0.0 (+0.0 to +0.0) | -10.0 (-10.0 to -10.0) |" in text
    names = {}
    exec(module.read_text(), names)
    exec((tmp_path / page.PRIOR).read_text(), names)
    assert names["RULE"].freeze.strategy == "half_frozen"
    assert names["PRIOR"] == page.Prior(0.5, 3e-4)


def test_what_the_repository_holds_is_not_measured_again(page: ModuleType, tmp_path: Path) -> None:
    first = finished(page, tmp_path)
    assert first.get(next(page.cells())) is None
    keep(page, tmp_path, "digits", moving=70, half=85)
    first.store()
    known = {cell: first.get(cell) for cell in page.cells()}
    shutil.rmtree(tmp_path / "cells")
    later = finished(page, tmp_path)
    assert {cell: later.get(cell) for cell in page.cells()} == known
    keep(page, tmp_path, "rsscn7", moving=70, half=85)
    later.store()
    assert sum(found is not None for found in known.values()) == 50
    assert len(finished(page, tmp_path).stored) == 100
