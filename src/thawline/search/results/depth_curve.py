"""The evidence: accuracy at every depth with intervals, the recommended depth, and the models behind both.

Equally many trials at each depth choose its recipe; fresh seeds of that recipe, which no choice has seen,
make the curve (`fresh_seeds`). The folder `evidence` of a contender holds depth_curve.csv,
recommendation.json and the seeds' models, which `evaluate` asks about the test pictures; nothing here can.
"""

import logging
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import pandas as pd

from thawline.artifacts import (
    DEPTH_CURVE,
    EVIDENCE,
    RECOMMENDATION,
    Artifacts,
    card_beside,
    copy_file,
    depth_models,
    write_json,
)
from thawline.config.sections import Config, Contender
from thawline.depth_curve import write_curve
from thawline.search.results.chosen import none_left
from thawline.search.results.curve import depth_curve
from thawline.search.results.winner import selected
from thawline.search.results.wording import incomplete, reason, without_curve
from thawline.search.study.run import run_study
from thawline.search.study.study import complete
from thawline.search.trial.fresh_seeds import Seeds
from thawline.search.trial.outcomes import load_outcomes
from thawline.search.trial.trials import Trials
from thawline.statistics.depths import AtDepth
from thawline.statistics.recommendation import TOLERANCE, Recommendation, recommend
from thawline.statistics.selection_bias import corrected_depth
from thawline.training.folds import Validation
from thawline.training.recipe import Chosen

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Curve:
    """The result of the two studies of a depth curve."""

    table: pd.DataFrame
    """As of `curve.depth_curve`."""
    recommendation: Recommendation
    reason: str
    """In sentences, why that depth is recommended."""
    corrected: tuple[float, float, float] | None
    """Accuracy to expect of the recommended recipe, and its interval (`selection_bias.corrected_depth`);
    None where what the trials said of the pictures is no longer there."""


def depth_curve_of(
    trials: Trials, study: optuna.Study, config: Config, artifacts: Artifacts, parent: str
) -> Chosen:
    """Train the fresh seeds, write the evidence, and return the recipe that won at the recommended depth.

    Its `selected` says what `search` says of any winner: `val_accuracy` is what the trial measured, too high
    for having won; `corrected` is what to expect on new pictures. By hand, the curve and the recommendation
    are written below the reports too; in the pipeline they are `evaluate`'s, which adds the test columns.

    Args:
        trials: the task whose `study` is finished.
        parent: the id of the study's run in MLflow.

    Raises `UserError` where every trial, or every fresh seed, failed.
    """
    seeds = Seeds(config, artifacts, trials)
    if not seeds.winners:
        raise none_left("trials", trials.contender, study)
    _tell_needs(seeds)
    finished = run_study(Seeds, config, artifacts, parent, f"seeds {trials.contender.name}", seeds)
    points = seeds.points(finished)
    if not points:
        raise none_left("fresh seeds", trials.contender, finished)
    curve = curve_of(trials, study, points)
    _write(artifacts, trials.contender, curve, seeds, finished)
    log.info("search %s: %s", trials.contender.name, curve.reason)
    return _chosen(trials, study, seeds, curve)


def curve_of(trials: Trials, study: optuna.Study, points: Sequence[AtDepth]) -> Curve:
    """Make the table, the recommendation and the correction, all from the same pictures."""
    config, validating = trials.config, trials.validating
    settings: dict[str, Any] = {
        "resamples": config.evaluate.resamples,
        "seed": config.seed,
        "confidence": config.evaluate.confidence,
    }
    table = depth_curve(points, validating.groups, probe=len(trials.units), confidence=settings["confidence"])
    found = recommend(points, validating.groups, **settings)
    depths = [point.depth for point in points]
    asked = config.search.seeds_per_depth
    gaps = incomplete(
        sorted(set(trials.depths) - set(depths)),
        [point.depth for point in points if len(point.correct) < asked],
    )
    why = " ".join([reason(found, validating.validation.folds), *gaps])
    corrected = _corrected(trials, study, points, depths.index(found.chosen.depth), settings)
    return Curve(table, found, why, corrected)


def _corrected(
    trials: Trials, study: optuna.Study, points: Sequence[AtDepth], chosen: int, settings: dict[str, Any]
) -> tuple[float, float, float] | None:
    could_win = complete(study, trials.total)
    tables = []
    for point in points:
        numbers = [each.number for each in could_win if each.user_attrs["depth"] == point.depth]
        found, correct, losses = load_outcomes(trials.outcomes, numbers)
        if len(found) < len(numbers):
            log.warning("%s lacks the outcomes of %d trials", trials.outcomes, len(numbers) - len(found))
            return None
        tables.append((correct, losses))
    return corrected_depth(
        [correct for correct, _ in tables],
        [point.correct for point in points],
        chosen,
        trials.validating.groups,
        losses=[losses for _, losses in tables],
        tolerance=TOLERANCE,
        **settings,
    )


def _chosen(trials: Trials, study: optuna.Study, seeds: Seeds, curve: Curve) -> Chosen:
    depth = curve.recommendation.chosen.depth
    winner = next(winner for winner in seeds.winners if winner.depth == depth)
    corrected = curve.corrected and dict(zip(("mean", "low", "high"), curve.corrected, strict=True))
    told = {**selected(study, winner.trial, trials.total, trials.validating, corrected), "best": None}
    return Chosen(trials.contender, winner.recipe, depth, winner.unit, told, trials.linear_head)


def _write(
    artifacts: Artifacts, contender: Contender, curve: Curve, seeds: Seeds, study: optuna.Study
) -> None:
    folder = _fresh_folder(artifacts, contender)
    for depth, finished in seeds.finished(study).items():
        for trial in finished:
            weights = seeds.weights(depth, trial.user_attrs["seed"])
            copied = depth_models(folder, depth) / weights.name
            copy_file(weights, copied)
            copy_file(card_beside(weights), card_beside(copied))
    found = curve.recommendation
    written: dict[str, Any] = {
        "depth": found.chosen.depth,
        "unit": found.chosen.unit,
        "reason": curve.reason,
        "indistinguishable_depths": list(found.alike),
        "best_depth": found.best.depth,
        "pictures": found.pictures,
        "pictures_needed": found.pictures_needed,
    }
    _write_tables(artifacts, contender, curve.table, written)


def write_evidence_without_curve(
    artifacts: Artifacts, chosen: Chosen, validation: Validation | None = None, images: int | None = None
) -> None:
    """Write the evidence of a search that compared no depths.

    It is a curve without rows, and the chosen depth with a reason that says what cannot be told from it.

    Args:
        chosen: as of the search, or the configured recipe where it was off.
        validation, images: how its trials were validated, and on how many pictures.
    """
    _fresh_folder(artifacts, chosen.contender)
    folds = validation.folds if validation else 1
    selected = chosen.selected or {}
    written: dict[str, Any] = {
        "depth": chosen.depth,
        "unit": chosen.unit,
        "reason": without_curve(selected.get("trials"), images, folds, selected.get("best")),
        "indistinguishable_depths": [],
        "best_depth": None,
        "pictures": images,
        "pictures_needed": None,
    }
    _write_tables(artifacts, chosen.contender, pd.DataFrame(), written)


def _write_tables(
    artifacts: Artifacts, contender: Contender, table: pd.DataFrame, recommendation: dict[str, Any]
) -> None:
    folders = [artifacts.stage_output("search", contender.name) / EVIDENCE]
    if artifacts.by_hand and contender is Contender.finetuned:
        folders.append(artifacts.reports)
    for folder in folders:
        write_curve(folder / DEPTH_CURVE, table)
        write_json(folder / RECOMMENDATION, recommendation)


def _fresh_folder(artifacts: Artifacts, contender: Contender) -> Path:
    """Return the folder of the evidence, without the models of another curve."""
    folder = artifacts.stage_output("search", contender.name) / EVIDENCE
    shutil.rmtree(folder / "models", ignore_errors=True)
    return folder


def _tell_needs(seeds: Seeds) -> None:
    """Log how much will be trained, and how much of the disk the results will take."""
    learned = [winner.trial.user_attrs["trainable_parameters"] for winner in seeds.winners]
    size = 4 * seeds.search.seeds_per_depth * sum(learned) / 2**20
    log.info(
        "search %s: %d fresh trainings of the best recipe at %d depths; their models take about %.0f MiB, in "
        "%s and again among the artifacts",
        seeds.trials.contender.name,
        seeds.places,
        len(seeds.winners),
        size,
        seeds.folder.parent,
    )
