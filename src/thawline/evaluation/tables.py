"""The tables `evaluate` writes: one function per file, equal predictions give equal bytes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from thawline.artifacts import write_table
from thawline.config.sections import Contender
from thawline.evaluation.metrics import calibration, per_class

_DECIMALS = "%.6f"


@dataclass(frozen=True)
class Predicted:
    """Answers of the model of one contender and seed about the N test images; `probabilities` (N, C)."""

    contender: str
    seed: int
    probabilities: np.ndarray


@dataclass(frozen=True)
class Truth:
    """The test images: `paths` (N,), the `groups` they were given (N,), empty for none, and `labels` (N,) as
    indices into `classes`."""

    paths: Sequence[str]
    groups: Sequence[str]
    labels: np.ndarray
    classes: tuple[str, ...]


def predictions_table(truth: Truth, models: Sequence[Predicted]) -> pd.DataFrame:
    """Return one row per image and model: path, group, label, contender, seed, predicted, correct (1 or 0),
    confidence, and the probability of every class in a column `p_<class>`."""
    names = np.array(truth.classes, dtype=object)
    frames = []
    for model in models:
        chosen = model.probabilities.argmax(1)
        frame = pd.DataFrame(
            {
                "path": list(truth.paths),
                "group": list(truth.groups),
                "label": names[truth.labels],
                "contender": model.contender,
                "seed": model.seed,
                "predicted": names[chosen],
                "correct": (chosen == truth.labels).astype(int),
                "confidence": model.probabilities.max(1),
            }
        )
        shares = pd.DataFrame(model.probabilities, columns=[f"p_{name}" for name in truth.classes])
        frames.append(pd.concat([frame, shares], axis=1))
    return pd.concat(frames, ignore_index=True)


def per_class_table(truth: Truth, models: Sequence[Predicted]) -> pd.DataFrame:
    """Return one row per contender and class: support, and precision, recall and F1 averaged over the seeds
    for which they are defined."""
    frames = []
    for name, seeds in by_contender(models).items():
        scores = pd.concat([per_class(truth.labels, model.probabilities) for model in seeds])
        mean = scores.groupby(level=0).mean().astype({"support": int})
        mean.insert(0, "contender", name)
        mean.insert(1, "label", truth.classes)
        frames.append(mean)
    return pd.concat(frames, ignore_index=True)


def confusion_table(truth: Truth, models: Sequence[Predicted], contender: str) -> pd.DataFrame:
    """Return one row per image and seed of one contender: seed, label, predicted. DVC's confusion plot counts
    rows, so the counts are left to it."""
    table = predictions_table(truth, [model for model in models if model.contender == contender])
    return table[["seed", "label", "predicted"]]


def calibration_table(truth: Truth, models: Sequence[Predicted], bins: int) -> pd.DataFrame:
    """Return one row per contender and occupied confidence bin, the seeds' predictions pooled."""
    frames = []
    for name, seeds in by_contender(models).items():
        pooled = np.concatenate([model.probabilities for model in seeds])
        table = calibration(np.tile(truth.labels, len(seeds)), pooled, bins)
        table.insert(0, "contender", name)
        frames.append(table)
    return pd.concat(frames, ignore_index=True)


def by_contender(models: Sequence[Predicted]) -> dict[str, list[Predicted]]:
    """Return the models of each contender, in the order given."""
    groups: dict[str, list[Predicted]] = {}
    for model in models:
        groups.setdefault(model.contender, []).append(model)
    return groups


def write_tables(folder: Path, truth: Truth, models: Sequence[Predicted], bins: int) -> None:
    """Write predictions.csv, per_class.csv, confusion.csv (of the fine-tuned contender) and calibration.csv,
    with a fixed number of decimals; undefined values are empty cells."""
    tables = {
        "predictions": predictions_table(truth, models),
        "per_class": per_class_table(truth, models),
        "confusion": confusion_table(truth, models, Contender.finetuned.name),
        "calibration": calibration_table(truth, models, bins),
    }
    for name, table in tables.items():
        write_table(folder / f"{name}.csv", table, _DECIMALS)


def read_table(path: Path) -> pd.DataFrame:
    """Read what `write_tables` wrote. Names stay text, also a class called `7` or `NA`."""
    names = dict.fromkeys(("path", "group", "label", "predicted", "contender"), str)
    numbers = ("precision", "recall", "f1")
    return pd.read_csv(
        path, dtype=names, keep_default_na=False, na_values=dict.fromkeys(numbers, ""), encoding="utf-8"
    )
