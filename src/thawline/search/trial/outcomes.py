"""What each trial said of every validation picture, kept for what is computed of all trials together."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from thawline.artifacts import atomic_path
from thawline.search.trial.validation import Outcome


def keep_outcome(folder: Path, place: int, outcome: Outcome) -> None:
    """Keep the outcome of the trial at `place` in the study's `folder`."""
    with atomic_path(_path(folder, place)) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, correct=outcome.correct, losses=outcome.losses)


def kept_outcomes(folder: Path, places: Sequence[int]) -> tuple[list[int], np.ndarray, np.ndarray]:
    """Those of `places` whose outcomes are in `folder`, and their `correct` and `losses`, each (T, N)."""
    found = [place for place in places if _path(folder, place).exists()]
    correct, losses = [], []
    for place in found:
        with np.load(_path(folder, place)) as table:
            correct.append(table["correct"])
            losses.append(table["losses"])
    return found, np.array(correct), np.array(losses)


def _path(folder: Path, place: int) -> Path:
    return folder / f"{place}.npz"
