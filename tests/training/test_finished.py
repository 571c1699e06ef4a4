"""Finished fine-tunings are kept whole or not at all."""

import shutil
from pathlib import Path

import pytest

from thawline.artifacts import read_json
from thawline.training.finished import FINISHED, forget_others


def finished(folder: Path, name: str) -> Path:
    """A working folder with one finished seed."""
    work = folder / name
    work.mkdir()
    for file in ("0.json", "card.json", "seed_0.safetensors", FINISHED):
        (work / file).write_text("{}")
    return work


def test_what_other_recipes_of_the_contender_finished_goes(tmp_path: Path) -> None:
    mine, before, other = (finished(tmp_path, f"finetune-{name}") for name in ("a-1", "a-2", "b-1"))
    unfinished = finished(tmp_path, "finetune-a-3")
    (unfinished / FINISHED).unlink()
    forget_others(mine)
    assert [each.exists() for each in (mine, before, other, unfinished)] == [True, False, True, True]


def test_a_process_killed_while_it_forgets_leaves_nothing_that_is_taken_for_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(folder: Path) -> None:
        (folder / "seed_0.safetensors").unlink()
        raise KeyboardInterrupt

    mine, before = (finished(tmp_path, f"finetune-a-{number}") for number in (1, 2))
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            forget_others(mine)
    assert not (before / "0.json").exists()
    assert read_json(mine / "0.json") == {}
    forget_others(mine)
    assert not before.exists()
