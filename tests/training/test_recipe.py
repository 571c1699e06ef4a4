"""What each contender makes of the configured recipe, and the recipe file."""

from pathlib import Path

import pytest

from thawline.config.sections import BatchNorm, Contender, Finetune, Method, Phases, Start
from thawline.training.recipe import Chosen, read_chosen, recipe_of, write_chosen

FANCY = Finetune(
    method=Method.norm,
    batch_norm=BatchNorm.train,
    phases=Phases.gradual,
    units=["layer1"],
    layer_decay=0.5,
    l2_sp=0.1,
    wise_ft=0.5,
    soup=2,
    ema=0.9,
    body_lr=1e-3,
    head_lr=3e-3,
)


@pytest.mark.parametrize("contender", [Contender.linear_probe, Contender.from_scratch])
def test_baselines_keep_the_budget_and_drop_what_only_a_body_that_is_fine_tuned_has(
    contender: Contender,
) -> None:
    found = recipe_of(contender, FANCY)
    assert (found.soup, found.ema, found.epochs) == (FANCY.soup, FANCY.ema, FANCY.epochs)
    assert (found.method, found.phases, found.units) == (Method.full, Phases.one, None)
    assert (found.layer_decay, found.l2_sp, found.wise_ft) == (1, 0, 1)
    probe = contender is Contender.linear_probe
    assert (found.start, found.depth) == ((Start.source, "all") if probe else (Start.random, 0))


def test_a_whole_network_from_scratch_does_not_learn_at_the_rate_of_a_few_parameters() -> None:
    assert recipe_of(Contender.from_scratch, FANCY).head_lr == pytest.approx(3e-4)
    assert recipe_of(Contender.from_scratch, Finetune(body_lr=2e-4)).head_lr == 2e-4
    assert (
        recipe_of(Contender.from_scratch, Finetune(depth="all", body_lr=None, head_lr=1e-2)).head_lr == 1e-2
    )


def test_a_recipe_comes_back_from_its_file_as_it_was(tmp_path: Path) -> None:
    chosen = Chosen(Contender.finetuned, FANCY, 0, None, {"trial": 3})
    write_chosen(tmp_path / "recipe.json", chosen)
    assert read_chosen(tmp_path / "recipe.json") == chosen
