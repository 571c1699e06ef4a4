"""Every recipe is told as what it is, in the words of docs/methods.md, and nothing of what it is not."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from thawline.config.recipe.words import Told, described, rates, shown
from thawline.config.sections import Finetune
from thawline.report.findings import Findings
from thawline.report.recipes import answer, frozen_cell, method_cell

PRESETS = Path(__file__).resolve().parents[2] / "conf" / "finetune"
UNITS = ("conv1", *(f"layer{stage}.{block}" for stage in range(1, 5) for block in range(2)))


def recipe(depth: int = 3, count: int | None = 9, linear_head: bool = True, **values: Any) -> Told:
    """As the search leaves it, with a rate for the head and one for the body."""
    given = {"head_lr": 3.2e-3, "body_lr": 1e-3, "depth": depth, **values}
    made = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(Finetune), given))
    assert isinstance(made, Finetune)
    unit = UNITS[depth - 1] if depth else None
    return Told(made, depth, unit, count, linear_head)


@pytest.mark.parametrize(
    ("depth", "text"),
    [
        (0, "full fine-tuning (no unit frozen) and learning rates 3.2e-3 (head) and 1e-3 (body)"),
        (1, "the first of 9 units frozen (`conv1`) and learning rates 3.2e-3 (head) and 1e-3 (body)"),
        (
            3,
            "the first 3 of 9 units frozen (up to `layer1.1`) and learning rates 3.2e-3 (head) and "
            "1e-3 (body)",
        ),
        (9, "only a linear head, solved (all 9 units frozen)"),
    ],
)
def test_a_plain_recipe_is_what_it_freezes(depth: int, text: str) -> None:
    assert described(recipe(depth)) == text
    assert method_cell(recipe(depth)) is None


def test_the_answer_gives_recipe_accuracy_interval_and_seeds(found: Callable[..., Findings]) -> None:
    findings = found(seeds=1)
    findings.metrics["finetuned"]["accuracy"] = {"mean": 0.972, "low": 0.9641, "high": 0.98}
    assert answer(findings) == (
        "With the first 3 of 9 units frozen (up to `layer1.1`) and learning rates 3.2e-3 (head) and 1e-3 "
        "(body), the model labels **97.2 %** of 300 test pictures correctly (95 % interval 96.4 to 98.0 %, "
        "one seed)."
    )


@pytest.mark.parametrize(
    ("depth", "values", "text"),
    [
        (0, {"units": ["layer1"]}, "only `layer1` and the head learning and learning rates"),
        (0, {"units": ["layer1", "fc2"]}, "only `layer1`, `fc2` and the head learning and"),
        (0, {"method": "lora"}, "LoRA in all 9 units and learning rates 3.2e-3 (head) and 1e-3 (body)"),
        (1, {"method": "lora"}, "LoRA in the units after `conv1` (the first of 9 units frozen) and"),
        (3, {"method": "lora"}, "LoRA in the units after `layer1.1` (the first 3 of 9 units frozen) and"),
        (0, {"method": "lora", "units": ["layer1"]}, "LoRA in `layer1` (all other units frozen) and"),
        (9, {"method": "lora"}, "only a linear head, solved (all 9 units frozen)"),
        (0, {"method": "bias"}, "only biases learning in all 9 units and"),
        (0, {"method": "norm"}, "only normalisation layers learning in all 9 units and"),
        (0, {"method": "scale_shift"}, "scales and shifts (SSF) in all 9 units and"),
        (0, {"method": "adapter"}, "adapters in all 9 units and"),
        (0, {"method": "prompt"}, "visual prompts in all 9 units and"),
        (0, {"method": "prompt", "prompt_deep": False}, "a single set of visual prompts in all 9 units"),
        (
            0,
            {"phases": "probe_first"},
            "a linear probe first, then full fine-tuning (no unit frozen) and learning rate 1e-3",
        ),
        (
            9,
            {"phases": "probe_first", "linear_head": False},
            "only the head trained (all 9 units frozen) and learning rate 3.2e-3",
        ),
        (
            2,
            {"phases": "gradual", "layer_decay": 0.8},
            "the first 2 of 9 units frozen (up to `layer1.0`), gradual unfreezing from the head down, "
            "layer-wise decay (each unit's learning rate 0.8 times the next one's) and learning rates "
            "3.2e-3 (head) and 1e-3 (last unit)",
        ),
        (0, {"l2_sp": 0.01}, "(no unit frozen), a pull towards the source model's weights (L2-SP) and"),
        (0, {"ema": 0.98}, "full fine-tuning (no unit frozen), a moving average of the weights and"),
        (
            0,
            {"wise_ft": 0.5},
            "(no unit frozen), a body 50 % of the way from the source's to the fine-tuned one (WiSE-FT) and",
        ),
        (0, {"soup": 3}, "(no unit frozen), a greedy soup of 3 trainings per seed and"),
        (0, {"batch_norm": "frozen"}, "full fine-tuning (no unit frozen), BatchNorm held fixed and"),
        (0, {"method": "lora", "batch_norm": "frozen"}, "LoRA in all 9 units and"),
        (
            9,
            {"frozen_batch_norm": "affine"},
            "(all 9 units frozen), BatchNorm's scales and shifts learning in the frozen units too and "
            "learning rates 3.2e-3 (head) and 1e-3 (body)",
        ),
        (
            0,
            {"start": "random", "body_lr": None},
            "every weight trained from a random start (nothing copied) and learning rate 3.2e-3",
        ),
    ],
)
def test_any_other_recipe_says_what_learns(depth: int, values: dict[str, Any], text: str) -> None:
    assert text in described(recipe(depth, **values))


PLAIN = {"from_scratch", "frozen", "full", "linear_probe"}


@pytest.mark.parametrize("preset", sorted(path.stem for path in PRESETS.glob("*.yaml")))
def test_no_preset_but_full_is_called_plain_full_fine_tuning(preset: str) -> None:
    values = OmegaConf.to_container(OmegaConf.load(PRESETS / f"{preset}.yaml"))
    assert isinstance(values, dict)
    depth = {"all": 9}.get(values["depth"], values["depth"])
    preset_recipe = recipe(**{"head_lr": 1e-2, "body_lr": 1e-3, **values, "depth": depth})
    plainly = "full fine-tuning (no unit frozen) and learning rates 1e-2 (head) and 1e-3 (body)"
    assert (described(preset_recipe) == plainly) == (preset == "full")
    named = method_cell(preset_recipe) is not None or frozen_cell(preset_recipe).startswith("all but")
    assert named == (preset not in PLAIN)


def test_the_number_of_units_may_be_unknown() -> None:
    assert described(recipe(0, None, method="lora")).startswith("LoRA in all units and")
    assert described(recipe(1, None)).startswith("the first unit frozen (`conv1`) and")
    assert described(recipe(3, None)).startswith("the first 3 units frozen (up to `layer1.1`) and")


def test_all_units_may_be_frozen_by_that_word() -> None:
    whole = Told(Finetune(depth="all", head_lr=3e-3), 9, "layer4.1")
    assert described(whole) == "only a linear head, solved (all 9 units frozen)"
    assert rates(whole) == "–"


def test_cells_say_what_is_frozen_and_by_which_method() -> None:
    lora = recipe(phases="probe_first", method="lora", ema=0.9)
    assert frozen_cell(lora) == "3 (`layer1.1`)"
    assert method_cell(lora) == "a linear probe first; LoRA; a moving average of the weights"
    assert frozen_cell(recipe(0)) == "0"
    assert frozen_cell(recipe(9)) == "9 (`layer4.1`)"


CORE = {
    "start", "depth", "method", "batch_norm", "frozen_batch_norm", "body_lr", "head_lr", "epochs",
    "batch_size", "optimizer", "weight_decay", "schedule", "warmup", "augmentation", "keep", "seeds", "refit",
}  # fmt: skip


@pytest.mark.parametrize(
    ("depth", "values", "more", "less"),
    [
        (3, {}, set(), set()),
        (0, {"method": "lora"}, {"lora_rank", "lora_scale"}, {"frozen_batch_norm"}),
        (3, {"phases": "probe_first"}, {"phases", "head_penalty", "head_scale"}, {"head_lr"}),
        (
            3,
            {"ema": 0.9, "soup": 3, "wise_ft": 0.5, "l2_sp": 0.1},
            {"ema", "soup", "wise_ft", "l2_sp"},
            set(),
        ),
        (0, {"units": ["layer1"]}, {"units"}, {"depth"}),
        (
            9,
            {"soup": 3, "ema": 0.9},
            {"head_penalty"},
            CORE - {"start", "depth", "frozen_batch_norm", "seeds", "refit"},
        ),
        (
            0,
            {"start": "random", "body_lr": None},
            set(),
            {"method", "batch_norm", "frozen_batch_norm", "body_lr"},
        ),
    ],
)
def test_fields_are_shown_where_they_mean_something(
    depth: int, values: dict[str, Any], more: set[str], less: set[str]
) -> None:
    told = recipe(depth, **values)
    found = shown(told.recipe, told.at)
    assert set(found) == (CORE | more) - less
    assert list(found) == sorted(found)


def test_the_depth_shown_is_the_resolved_one() -> None:
    named = Finetune(depth="layer1", head_lr=3e-3)
    told = Told(named, 3, "layer1.1", 9)
    assert shown(told.recipe, told.at)["depth"] == 3


@pytest.mark.parametrize(
    ("depth", "changes", "words"),
    [
        (9, {"head_cuts": [3, 6, 9]}, "only a linear head on 3 cuts, solved (all 9 units frozen)"),
        (9, {"head_cuts": []}, "only a linear head, solved (all 9 units frozen)"),
        (0, {"head_cuts": [3, 6, 9], "phases": "probe_first"}, "a linear probe on 3 cuts first, then "),
        # the cut inside the frozen units is not read
        (5, {"head_cuts": [3, 6, 9], "phases": "probe_first"}, "a linear probe on 2 cuts first, then "),
        (5, {"head_cuts": [3, 6, 9]}, "the first 5 of 9 units frozen"),
    ],
)
def test_a_head_on_several_cuts_is_called_so(depth: int, changes: dict[str, Any], words: str) -> None:
    assert described(recipe(depth, **changes)).startswith(words)
