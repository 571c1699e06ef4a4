"""Recipes as files and as records."""

from pathlib import Path

from thawline.config.sections import BatchNorm, Contender, Finetune, Method
from thawline.training.recipe import Chosen, read_chosen, tracked, write_chosen


def test_a_recipe_comes_back_from_its_file_as_it_was(tmp_path: Path) -> None:
    recipe = Finetune(method=Method.norm, units=["layer1"], layer_decay=0.5, soup=2, body_lr=1e-3)
    chosen = Chosen(Contender.finetuned, recipe, 0, None, {"trial": 3}, linear_head=False)
    write_chosen(tmp_path / "recipe.json", chosen)
    assert read_chosen(tmp_path / "recipe.json") == chosen


def test_what_means_nothing_is_not_recorded() -> None:
    found = tracked(Finetune(batch_norm=BatchNorm.frozen), 2, "layer1")
    assert (found["depth"], found["unit"], found["batch_norm"]) == (2, "layer1", "frozen")
    assert not {"lora_rank", "momentum", "views", "phase_share"} & found.keys()
    probe = Finetune(depth="all")
    assert "epochs" in tracked(probe, 9, "layer4")
    assert "epochs" not in tracked(probe, 9, "layer4", linear_head=True)
