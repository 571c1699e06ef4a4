# ruff: noqa: E501 - a table of settings and messages reads better in long lines
"""The section `search`: what may be searched, and which settings fit together."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from thawline.config.composition import compose, to_config
from thawline.config.errors import FieldError
from thawline.config.recipe.fields import Finetune
from thawline.config.search import Search, Space
from thawline.config.searchable import ELSEWHERE, SEARCHABLE, TYPES, typed_value
from thawline.config.sections import Goal, Method, Objective, PrunerName, SamplerName, ValidationName

ROOT = Path(__file__).resolve().parents[2]


def preset(name: str, *overrides: str) -> Search:
    return to_config(compose(ROOT, [f"search={name}", *overrides])).search


# --- choices


def test_every_field_of_a_recipe_can_be_searched_or_has_a_place_of_its_own() -> None:
    assert set(SEARCHABLE) | set(ELSEWHERE) == set(TYPES)
    assert not set(SEARCHABLE) & set(ELSEWHERE)


def test_the_default_of_every_field_is_a_valid_choice_and_comes_back() -> None:
    for name in SEARCHABLE:
        default = getattr(Finetune(), name)
        (listed,) = Space(choices={name: [default]}).choices[name]
        assert isinstance(listed, str | int | float | None)
        assert typed_value(name, listed) == default, name


def test_choices_are_numbers_and_names_as_a_trial_stores_them() -> None:
    space = Space(choices={"weight_decay": [0, "1e-3"], "method": [Method.full, "lora"]})
    assert space.choices == {"weight_decay": [0.0, 1e-3], "method": ["full", "lora"]}


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"weight_deca": [0.1]}, r"choices\.weight_deca = \[0\.1\].*nearest: weight_decay"),
        ({"seeds": [1]}, r"choices\.seeds = \[1\].*which a trial has none of"),
        ({"soup": [1, 3]}, r"choices\.soup = \[1, 3\].*finetune\.soup.*a trial is one training"),
        ({"keep": ["best"]}, r"choices\.keep = \['best'\].*finetune\.keep: best chooses the epoch by the pictures"),
        ({"head_lr": [1e-3]}, r"choices\.head_lr = .*search\.space\.head_lr.*an interval"),
        ({"units": [["layer1"]]}, r"choices\.units = .*finetune\.units"),
        ({"start": ["random"]}, r"choices\.start = .*from_scratch"),
        ({"mix": []}, r"choices\.mix = \[\].*a list of values of finetune\.mix"),
        ({"mix": "mixup"}, r"choices\.mix = 'mixup'.*a list"),
        ({"mix": ["mixup", "mixup"]}, r"choices\.mix = .*no value occurs twice"),
        ({"epochs": [1.5]}, r"choices\.epochs = 1\.5 .*a whole number"),
        ({"epochs": [0]}, r"choices\.epochs = 0 .*greater than 0"),
        ({"epochs": [None]}, r"choices\.epochs = None .*a whole number"),
        ({"optimizer": ["adam"]}, r"choices\.optimizer = 'adam' .*adamw, sgd, lamb"),
        ({"prompt_deep": ["perhaps"]}, r"choices\.prompt_deep = 'perhaps' .*true or false"),
        ({"ema": [[0.9]]}, r"choices\.ema = \[0\.9\] .*a number"),
    ],
)  # fmt: skip
def test_a_wrong_choice_is_refused_by_name(choices: dict[str, Any], message: str) -> None:
    with pytest.raises(FieldError, match=f"(?s){message}"):
        Space(choices=choices)


# --- settings that do not fit together


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"objective": Objective.accuracy_and_cost}, r"pruner = 'median'.*none, because objective is accuracy_and_cost"),
        ({"objective": Objective.accuracy_and_cost, "pruner": PrunerName.none, "sampler": SamplerName.cmaes}, r"sampler = 'cmaes'.*tpe, gp, random or grid.*one objective"),
        ({"pruner": PrunerName.wilcoxon}, r"validation = 'auto'.*kfold, because pruner is wilcoxon, which compares folds"),
        ({"pruner": PrunerName.wilcoxon, "validation": ValidationName.holdout}, r"validation = 'holdout'.*kfold"),
        ({"pruner": PrunerName.wilcoxon, "validation": ValidationName.kfold, "folds": 3}, r"folds = 3.*5 or more"),
        ({"goal": Goal.depth_curve, "sampler": SamplerName.grid}, r"sampler = 'grid'.*equally many rates at every depth"),
        ({"goal": Goal.depth_curve, "objective": Objective.accuracy_and_cost, "pruner": PrunerName.none}, r"objective = 'accuracy_and_cost'.*accuracy, because goal is depth_curve"),
        ({"known": ["probe"]}, r"known = 'probe'.*nearest: linear_probe"),
        ({"folds": 1}, r"folds = 1.*2 or more"),
    ],
)  # fmt: skip
def test_settings_that_do_not_fit_together_are_refused_with_the_way_out(
    settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(FieldError, match=f"(?s){message}"):
        Search(**settings)


def test_no_known_recipes_is_a_choice() -> None:
    assert Search(known=[]).known == []


# --- presets


def test_quick_looks_for_a_recipe_in_a_number_of_trials_whose_choices_are_given_with_a_plus() -> None:
    quick = preset("quick", "+search.space.choices.method=[full,lora]")
    assert (quick.goal, quick.trials) == (Goal.recipe, 15)
    assert quick.space.choices == {"method": ["full", "lora"]}


def test_pareto_follows_two_objectives() -> None:
    assert preset("pareto").objective is Objective.accuracy_and_cost


def test_depth_curve_proposes_and_stops_nothing_that_would_make_depths_unequal() -> None:
    search = preset("depth_curve")
    assert search.goal is Goal.depth_curve
    assert (search.sampler, search.pruner) == (SamplerName.random, PrunerName.none)


# --- the guide


def test_the_guides_example_is_valid(tmp_path: Path) -> None:
    example = (ROOT / "docs/search.md").read_text().split("```yaml\n")[1].split("```")[0]
    shutil.copytree(ROOT / "conf", tmp_path / "conf")
    (tmp_path / "conf/search/mine.yaml").write_text(example)
    search = to_config(compose(tmp_path, ["search=mine"])).search
    assert (search.trials, search.space.depths) == (40, [0, 2, 4, 6, 8])
    assert search.space.choices["lora_rank"] == [4, 16]
