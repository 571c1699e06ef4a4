"""The stage: the cheapest candidate that cannot be told from the best, and measured within a point of it,
becomes the source model."""

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from thawline.artifacts import SOURCES, Artifacts, write_table
from thawline.choose_source.decision import COLUMNS, write_choice
from thawline.choose_source.looks import Look, looked_at
from thawline.choose_source.wording import sentence
from thawline.config.candidates import names
from thawline.config.sections import Config
from thawline.statistics.comparisons import cheapest_alike
from thawline.statistics.paired import difference_interval
from thawline.statistics.recommendation import TOLERANCE
from thawline.statistics.transferability import h_score, leep, log_me
from thawline.training.solve.neighbours import left_out_votes
from thawline.training.solve.ridge import left_out_scores
from thawline.training.solve.targets import Targets

log = logging.getLogger(__name__)


def choose_source(config: Config, artifacts: Artifacts) -> None:
    """Write source.json and sources.csv, from the target's training and validation pictures.

    Raises `UserError` where a candidate cannot be had, or these do not suffice.
    """
    named = names(config.source.candidates)
    targets, looks = looked_at(config, artifacts.stage_output("choose_source"))
    rows: list[dict[str, Any]] = []
    right: list[np.ndarray] = []
    origins: list[str] = []
    for name, look in zip(named, looks, strict=True):
        heads, votes = answers(look, targets)
        right.append(np.stack([heads, votes]))
        origins.append(look.origin)
        rows.append(scores(name, look, targets))
        log.info("%s: a head is right on %.1f %% of pictures left out", name, 100 * heads.mean())
    chosen, table = decided(rows, right, targets, config.evaluate.confidence, config.seed)
    write_table(artifacts.reports / SOURCES, table)
    write_choice(artifacts, chosen, named[chosen], origins[chosen])
    log.info("%s", sentence(table))


def answers(look: Look, targets: Targets) -> tuple[np.ndarray, np.ndarray]:
    """Return, of each picture, whether a solved head and the nearest neighbours are right on it, (N,) each:
    1.0 or 0.0. Neither has seen the picture or its group."""
    labels, asked = targets.labels, (look.features, targets.labels, targets.classes)
    _, heads = left_out_scores(*asked, targets.together)
    votes = left_out_votes(*asked, groups=targets.together)
    return (heads.argmax(1) == labels).astype(float), (votes.argmax(1) == labels).astype(float)


def scores(name: str, look: Look, targets: Targets) -> dict[str, Any]:
    """Return what sources.csv says of a candidate alone."""
    return {
        "source": name,
        "pictures": len(targets.labels),
        "log_me": log_me(look.features, targets.labels, targets.classes),
        "h_score": h_score(look.features, targets.labels),
        "leep": None if look.said is None else leep(look.said, targets.labels),
        "operations": look.operations,
        "pixels": look.pixels,
        "seconds": look.seconds,
    }


def decided(
    rows: Sequence[dict[str, Any]],
    right: Sequence[np.ndarray],
    targets: Targets,
    confidence: float,
    seed: int,
) -> tuple[int, pd.DataFrame]:
    """Return which candidate is chosen, and sources.csv.

    Args:
        rows: of each candidate its `scores`.
        right: of each candidate (2, N), whether head and neighbours are right on each picture.
        confidence: with which the best candidate is among those that are alike.
    """
    clusters = targets.together
    heads, votes = (np.stack(each) for each in zip(*right, strict=True))
    costs = np.array([row["operations"] for row in rows])
    chosen, alike = cheapest_alike(
        heads, costs, clusters, confidence=confidence, tolerance=TOLERANCE, seed=seed
    )
    table = pd.DataFrame(rows).assign(chosen=np.arange(len(rows)) == chosen, alike=alike)
    for name, before, correct in (("accuracy", "", heads), ("neighbours", "neighbours_", votes)):
        best = correct[np.argmax(correct.mean(1))]
        gaps = [
            (0.0, 0.0) if not (one - best).any()
            else difference_interval(one[None], best[None], clusters, confidence)
            for one in correct
        ]  # fmt: skip
        low, high = np.array(gaps).T
        minus = correct.mean(1) - best.mean()
        columns = {"minus_best": minus, "low": low, "high": high}
        table = table.assign(**{name: correct.mean(1)}, **{before + each: v for each, v in columns.items()})
    return chosen, table[list(COLUMNS)]
