"""Finished fine-tunings of a contender: put where the pipeline expects them, and kept for the next call.

The stage trains every contender, and DVC removes its outputs before each call. So that a change of one
contender's recipe, or an interruption, costs the others nothing, what is finished stays in scratch/ as well.
"""

import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from thawline.artifacts import (
    BEFORE_REWARD,
    CARD,
    COSTS,
    HISTORY,
    copy_file,
    read_json,
    seed_weights,
    write_json,
)
from thawline.training.pretrain import write_history

FINISHED = "finished"
"""The mark of a working folder in which every seed is finished."""


def collect(work: Path, folder: Path) -> None:
    """Write what the finished seeds in `work` came to into the contender's `folder`, and drop what could only
    be needed to go on with them."""
    seeds = sorted(int(path.stem) for path in work.glob("[0-9]*.json"))
    results = {seed: read_json(work / f"{seed}.json") for seed in seeds}
    for made, place in ((work, folder), (work / BEFORE_REWARD, folder / BEFORE_REWARD)):
        if (made / CARD).exists():
            for seed in results:
                copy_file(made / seed_weights(seed), place / "weights" / seed_weights(seed))
            copy_file(made / CARD, place / CARD)
    write_history(folder / HISTORY, {seed: result["history"] for seed, result in results.items()})
    costs: dict[str, Any] = {str(seed): result["cost"] for seed, result in results.items()}
    total = sum(cost["seconds"] for cost in costs.values())
    write_json(folder / COSTS, {"seconds": total, "seeds": costs})
    for checkpoint in work.glob("seed-*"):
        shutil.rmtree(checkpoint)
    (work / FINISHED).touch()


def forget_others(work: Path) -> None:
    """Drop what other recipes of the same contender finished, or the disk would fill.

    Unfinished trainings stay, to be gone on with, and so does what another process holds the lock of.
    """
    family = work.name.rpartition("-")[0]
    for mark in work.parent.glob(f"{family}-*/{FINISHED}"):
        other = mark.parent
        if other != work:
            with suppress(Timeout), FileLock(other.with_suffix(".lock"), timeout=0):
                # what says that seeds are finished goes first, or half of one would be taken for whole
                for said in other.glob("[0-9]*.json"):
                    said.unlink()
                shutil.rmtree(other)
