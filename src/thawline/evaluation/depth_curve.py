"""The test columns of the depth curve.

The recommendation was made on validation pictures and stays what it was: the test columns only show whether
it was right.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from thawline.artifacts import (
    DEPTH_CURVE,
    EVIDENCE,
    RECOMMENDATION,
    Artifacts,
    card_beside,
    copy_file,
    depth_models,
    missing,
)
from thawline.config.errors import UserError
from thawline.config.sections import Config, Contender
from thawline.data.store import Store, groups_of
from thawline.depth_curve import read_curve, write_curve
from thawline.evaluation.asking import Asking
from thawline.statistics.depths import AtDepth
from thawline.statistics.intervals import accuracy_interval


def write_depth_curve(config: Config, artifacts: Artifacts, asking: Asking) -> None:
    """Write reports/depth_curve.csv, the search's with its test columns filled, and
    reports/recommendation.json, which is the search's as it stands.

    Raises `UserError` where the search left no evidence, or a model is missing or does not fit.
    """
    write_tested(config, artifacts, asking.test, points_on_test(artifacts, asking))


def points_on_test(artifacts: Artifacts, asking: Asking) -> list[AtDepth]:
    """Ask the models of each depth about every test picture. Raises as `write_depth_curve` does."""
    evidence = _evidence(artifacts)
    curve = read_curve(evidence / DEPTH_CURVE)
    points = []
    for depth, unit, seeds in curve[["depth", "unit", "n_seeds"]].itertuples(index=False):
        said = [asking.probabilities(path, card_beside(path)) for path in _weights(evidence, depth, seeds)]
        correct = np.stack([each.argmax(1) == asking.test.labels for each in said])
        points.append(AtDepth(depth, unit, correct.astype(np.float64), 0.0, 0))
    return points


def write_tested(config: Config, artifacts: Artifacts, test: Store, points: Sequence[AtDepth]) -> None:
    """Write as `write_depth_curve` does what `points_on_test` found."""
    evidence = _evidence(artifacts)
    curve = read_curve(evidence / DEPTH_CURVE)
    write_curve(artifacts.reports / DEPTH_CURVE, with_test(curve, points, groups_of(test.manifest), config))
    copy_file(evidence / RECOMMENDATION, artifacts.reports / RECOMMENDATION)


def _evidence(artifacts: Artifacts) -> Path:
    """Return the folder of the search's evidence. Raises `UserError` where it is not complete."""
    evidence = artifacts.stage("search", Contender.finetuned.name) / EVIDENCE
    for name in (DEPTH_CURVE, RECOMMENDATION):
        if not (evidence / name).is_file():
            raise missing(evidence / name)
    return evidence


def with_test(
    curve: pd.DataFrame, points: Sequence[AtDepth], groups: np.ndarray, config: Config
) -> pd.DataFrame:
    """Return `curve` with test_mean, test_low and test_high, in 0..1, made as its val columns were.

    Args:
        curve: one row for each depth.
        points: the same depths in the same order, `correct` (S, N) on the N test pictures.
        groups: (N,).
    """
    if not points:
        return curve
    ends = [accuracy_interval(point.correct, config.evaluate.confidence, groups) for point in points]
    (low, high), mean = np.array(ends).T, np.array([point.correct.mean() for point in points])
    return curve.assign(test_mean=mean.round(6), test_low=low.round(6), test_high=high.round(6))


def _weights(evidence: Path, depth: int, seeds: int) -> list[Path]:
    """List the files of one depth's models. Raises `UserError` unless there are `seeds`."""
    folder = depth_models(evidence, depth)
    found = sorted(folder.glob("seed_*.safetensors"))
    if len(found) != seeds:
        raise UserError(
            f"the depth curve was made of {seeds} models at depth {depth}, {folder} holds {len(found)}.\n"
            "  They are made by stage search; run: dvc repro"
        )
    return found
