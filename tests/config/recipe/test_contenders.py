"""Every contender makes a recipe of its own of the configured one."""

import pytest

from thawline.config.recipe.contenders import recipe_of
from thawline.config.sections import (
    AugmentationName,
    BatchNorm,
    Contender,
    Finetune,
    Method,
    Mix,
    Phases,
    Start,
)

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
    found = recipe_of(contender, FANCY, linear_head=False)
    assert (found.soup, found.ema) == (FANCY.soup, FANCY.ema)
    assert found.epochs == FANCY.epochs
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


def test_the_fine_tuned_model_uses_it_as_it_is() -> None:
    assert recipe_of(Contender.finetuned, FANCY) == FANCY


def test_a_solved_probe_sees_plain_pictures_or_stored_views() -> None:
    configured = Finetune(augmentation=AugmentationName.standard, mix=Mix.mixup, soup=2, ema=0.9)
    probe = recipe_of(Contender.linear_probe, configured)
    assert (probe.augmentation, probe.mix, probe.soup, probe.ema) == (AugmentationName.none, Mix.none, 1, 0)
    views = recipe_of(Contender.linear_probe, Finetune(augmentation=AugmentationName.standard, views=4))
    assert (views.augmentation, views.views) == (AugmentationName.standard, 4)
    trained = recipe_of(Contender.linear_probe, configured, linear_head=False)
    assert (trained.augmentation, trained.mix) == (configured.augmentation, configured.mix)


def test_once_a_recipe_is_made_the_head_has_a_rate() -> None:
    assert Finetune(body_lr=1e-4).head_lr == pytest.approx(1e-3)
    assert Finetune(body_lr=1e-4, head_lr=2e-3).head_lr == 2e-3


@pytest.mark.parametrize(("configured", "expected"), [(None, "auto"), ([], []), ([2, 4], [2, 4])])
def test_a_probes_head_reads_the_cuts_that_are_chosen_unless_the_recipe_says_which(
    configured: list[int] | None, expected: object
) -> None:
    assert recipe_of(Contender.linear_probe, Finetune(head_cuts=configured)).head_cuts == expected
    assert recipe_of(Contender.from_scratch, Finetune(head_cuts=configured)).head_cuts is None
