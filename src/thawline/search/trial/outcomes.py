"""The worth of a recipe on the pictures that validated it, and the files that keep it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from thawline.artifacts import atomic_path
from thawline.training.history import Row


@dataclass(frozen=True, eq=False)
class Outcome:
    """The worth of one training, or of the folds of a cross-validation together, on N pictures.

    `correct` (N,) is 1 where the prediction was right and 0 where it was wrong, `losses` (N,) the
    cross-entropy, `logits` (N, classes) what was said. `epochs` has a row for each epoch, `last` is the one
    whose weights were kept. Of several folds, `epochs`, `last`, `cost` and `seconds` are of one training: the
    mean over the folds, weighted by their pictures (of peak memory: the most). `accumulate` is in how many
    parts batches had to be computed for want of memory, `trainings` how many there were.
    """

    correct: np.ndarray
    losses: np.ndarray
    epochs: list[Row]
    last: Row
    cost: dict[str, float]
    seconds: float
    accumulate: int = 1
    trainings: int = 1
    logits: np.ndarray | None = None

    @property
    def accuracy(self) -> float:
        return float(self.correct.mean())

    @property
    def loss(self) -> float:
        return float(self.losses.mean())

    @property
    def history(self) -> list[Row]:
        """The rows of all epochs, and one more where the last is not what the kept weights achieve."""
        kept = {"val_loss": self.loss, "val_accuracy": self.accuracy}
        end = self.epochs[-1]
        if all(np.isclose(end[name], value, atol=1e-5) for name, value in kept.items()):
            return self.epochs
        return [*self.epochs, {**self.last, "epoch": end["epoch"] + 1, **kept}]


def joined(parts: Sequence[Outcome], correct: np.ndarray, losses: np.ndarray) -> Outcome:
    """Return the outcome of all folds, whose answers in the order of the pictures are `correct` and `losses`
    (N,)."""
    weights = np.array([len(part.correct) for part in parts], np.float64)
    return Outcome(
        correct,
        losses,
        epochs=mean_history([part.epochs for part in parts], weights),
        last=mean_history([[part.last] for part in parts], weights)[0],
        cost=_mean_cost([part.cost for part in parts], weights),
        seconds=float(np.average([part.seconds for part in parts], weights=weights)),
        accumulate=parts[-1].accumulate,
        trainings=len(parts),
    )


def mean_history(histories: Sequence[Sequence[Row]], weights: np.ndarray | None = None) -> list[Row]:
    """Return the mean row of each epoch over the trainings that came so far."""
    weights = np.ones(len(histories)) if weights is None else weights
    rows = []
    for epoch in range(max(map(len, histories), default=0)):
        there = [index for index, history in enumerate(histories) if epoch < len(history)]
        values = [histories[index][epoch] for index in there]
        mean = {
            name: float(np.average([row[name] for row in values], weights=weights[there]))
            for name in values[0]
        }
        rows.append({**mean, "epoch": epoch})
    return rows


def _mean_cost(costs: Sequence[dict[str, float]], weights: np.ndarray) -> dict[str, float]:
    names = [name for name in costs[0] if all(name in cost for cost in costs)]
    mean = {name: float(np.average([cost[name] for cost in costs], weights=weights)) for name in names}
    if "peak_memory_bytes" in mean:
        mean["peak_memory_bytes"] = max(cost["peak_memory_bytes"] for cost in costs)
    return mean


def save_outcome(folder: Path, number: int, outcome: Outcome) -> None:
    """Keep what the trial `number` said of every picture in the study's `folder`."""
    said = {} if outcome.logits is None else {"logits": outcome.logits.astype(np.float32)}
    write_arrays(_path(folder, number), correct=outcome.correct, losses=outcome.losses, **said)


def write_arrays(path: Path, **arrays: Any) -> None:
    """Write arrays by their names, compressed."""
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)


def load_logits(folder: Path, number: int) -> np.ndarray | None:
    """Return the logits (N, classes) of the trial `number`; None where they are not in `folder`."""
    path = _path(folder, number)
    if not path.exists():
        return None
    with np.load(path) as table:
        return np.array(table["logits"]) if "logits" in table else None


def load_outcomes(folder: Path, numbers: Sequence[int]) -> tuple[list[int], np.ndarray, np.ndarray]:
    """Return those of the trials `numbers` that are in `folder`, and their `correct` and `losses` (T, N)."""
    found = [number for number in numbers if _path(folder, number).exists()]
    correct, losses = [], []
    for number in found:
        with np.load(_path(folder, number)) as table:
            correct.append(table["correct"])
            losses.append(table["losses"])
    return found, np.array(correct), np.array(losses)


def _path(folder: Path, number: int) -> Path:
    return folder / f"{number}.npz"
