"""Everything the page and the figures are made of: the files the stages left, read once."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from thawline.artifacts import (
    COSTS,
    CUTS,
    DEPTH_CURVE,
    EVIDENCE,
    HISTORY,
    METRICS,
    MISTAKES,
    PARETO,
    PICTURES,
    RECIPE,
    RECOMMENDATION,
    REVIEW,
    SOURCES,
    SUPERVISE,
    TRIALS,
    Artifacts,
    missing,
    read_json,
)
from thawline.config.sections import Config, Contender, Objective
from thawline.depth_curve import read_curve
from thawline.evaluation.tables import read_table
from thawline.report.thumbnails import Thumbnails, read_thumbnails
from thawline.training.recipe import Chosen, read_chosen

NAMES = {
    Contender.finetuned.name: "fine-tuned",
    Contender.linear_probe.name: "linear probe",
    Contender.from_scratch.name: "from scratch",
}
"""How contenders are called in prose, in the order they are shown."""

FINETUNED, PROBE, SCRATCH = NAMES


@dataclass(frozen=True)
class Findings:
    """Contenders are keys throughout, in the order of `NAMES`; only those that were evaluated appear.

    `metrics` is metrics.json; `recipes` are the recipe.json files; `trials` the searches' (absent
    where the search was off); `histories` the fine-tunings'; `source_history` the pretraining's, or
    None when weights were given; `costs` the costs.json files by stage (`search/finetuned`);
    `predictions`, `per_class` and `calibration` are the tables of `evaluate`.
    """

    metrics: dict[str, Any]
    recipes: dict[str, Chosen]
    trials: dict[str, pd.DataFrame]
    histories: dict[str, pd.DataFrame]
    source_history: pd.DataFrame | None
    costs: dict[str, dict[str, Any]]
    predictions: pd.DataFrame
    per_class: pd.DataFrame
    calibration: pd.DataFrame
    confidence: float
    """Coverage of the intervals in `metrics`."""
    objective: Objective
    """What the searches looked for."""
    curve: pd.DataFrame | None = None
    """The fine-tuned contender's accuracy by depth, with the columns of `thawline.depth_curve`; None
    where no depth curve was made."""
    recommendation: Mapping[str, Any] = field(default_factory=dict)
    """recommendation.json: what `curve` says, or why there is none; empty before there was such a file."""
    cuts: pd.DataFrame | None = None
    """Heads on single cuts and on several, solved out of fold, with the columns of cuts.csv; None where no
    cuts were compared."""
    front: pd.DataFrame | None = None
    """The fine-tuned contender's Pareto front of accuracy and operations; None where none was written."""
    supervised: tuple[str, ...] = ()
    """What the stage `supervise` says about the targets of the training pictures."""
    sources: pd.DataFrame | None = None
    """The sources that were compared, with the columns of sources.csv; None where there was one."""
    voters: tuple[dict[str, Any], ...] = ()
    """Who said what pictures without a label show, the most reliable first; as in supervise.json."""
    pictures: Thumbnails = Thumbnails()
    """What `prepare` shows of the target's pictures."""
    mistakes: Thumbnails = Thumbnails()
    """Test pictures that the fine-tuned contender took for something else."""
    doubts: Thumbnails = Thumbnails()
    """Pictures whose labels are worth a second look, and whether more pictures would help."""

    @property
    def contenders(self) -> list[str]:
        """The contenders that were evaluated, in the order of `NAMES`."""
        return [name for name in NAMES if name in self.metrics]

    @property
    def units(self) -> int | None:
        """The number of the network's units, which the linear probe freezes. None without that contender."""
        return self.recipes[PROBE].depth if PROBE in self.recipes else None

    def ranked(self, name: str) -> pd.DataFrame | None:
        """Return a contender's complete trials, with value and depth, the best first: in the order of
        `search.study.study.best`. None where nothing was searched."""
        table = self.trials.get(name)
        if table is None:
            return None
        found = table[table["state"] == "complete"].dropna(subset=["value", "depth"])
        costs = ["training_flops"] if self.objective is Objective.accuracy_and_cost else []
        ties = [*costs, "val_loss", "number"]
        found = found.sort_values(["value", *ties], ascending=[False, *(True for _ in ties)])
        return found.assign(depth=found["depth"].astype(int))

    def size(self, split: str) -> int:
        """Count the pictures of a split."""
        return self.metrics["data"]["sizes"][split]["total"]

    @property
    def validated_on(self) -> tuple[int, int]:
        """The number of pictures the fine-tuned contender's trials were validated on, and of folds (1:
        held-out)."""
        told = self.recipes[FINETUNED].selected or {}
        folds = (told.get("validation") or {}).get("folds", 1)
        return told.get("images") or self.size("val"), folds


def read_findings(artifacts: Artifacts, config: Config) -> Findings:
    """Read what the stages left; the configuration says how sure intervals are and what was searched for.

    A missing file is a `UserError`, but for the trials (no search was made), the pretraining's history
    (weights were given), and what only some searches find.
    """
    reported = _reported(artifacts)
    metrics = read_json(reported / METRICS)
    curve = _curve(reported / DEPTH_CURVE)
    names = [name for name in NAMES if name in metrics]
    stages = ["pretrain", *(f"{stage}/{name}" for stage in ("search", "finetune") for name in names)]
    search = {name: artifacts.stage("search", name) for name in names}
    trials = {name: _optional(folder / TRIALS) for name, folder in search.items()}
    tested, reviewed = artifacts.stage("evaluate"), artifacts.stage("review")
    told = artifacts.stage("supervise") / SUPERVISE
    decided: dict[str, Any] = read_json(told) if told.exists() else {}
    cuts = [_optional(search[name] / EVIDENCE / CUTS) for name in (PROBE, FINETUNED) if name in search]
    return Findings(
        metrics=metrics,
        recipes={name: read_chosen(folder / RECIPE) for name, folder in search.items()},
        trials={name: table for name, table in trials.items() if table is not None},
        histories={name: _table(artifacts.stage("finetune", name) / HISTORY) for name in names},
        source_history=_optional(artifacts.stage("pretrain") / HISTORY),
        costs={stage: read_json(artifacts.find(stage) / COSTS) for stage in stages},
        predictions=_table(tested / "predictions.csv", read_table),
        per_class=_table(tested / "per_class.csv", read_table),
        calibration=_table(tested / "calibration.csv", read_table),
        confidence=config.evaluate.confidence,
        objective=config.search.objective,
        curve=curve,
        recommendation=read_json(reported / RECOMMENDATION) if (reported / RECOMMENDATION).exists() else {},
        cuts=next((table for table in cuts if table is not None), None),
        front=_optional(search[FINETUNED] / PARETO) if FINETUNED in search else None,
        supervised=tuple(each for name in ("sentences", "warnings") for each in decided.get(name, ())),
        voters=tuple(decided.get("voters", ())),
        sources=_optional(reported / SOURCES),
        pictures=_beside(artifacts.stage("prepare", "pictures") / PICTURES),
        mistakes=_beside(tested / "pictures" / MISTAKES),
        doubts=read_thumbnails(reviewed / REVIEW, reviewed / "pictures"),
    )


def _beside(told: Path) -> Thumbnails:
    return read_thumbnails(told, told.parent)


def _curve(path: Path) -> pd.DataFrame | None:
    curve = read_curve(path) if path.exists() else pd.DataFrame()
    return None if curve.empty else curve


def _reported(artifacts: Artifacts) -> Path:
    """Return the folder where `evaluate` left its findings. A report called by hand finds the pipeline's
    where it has none of its own."""
    own = artifacts.reports
    return own if (own / METRICS).exists() else artifacts.root / "reports"


def _table(path: Path, read: Callable[[Path], pd.DataFrame] = pd.read_csv) -> pd.DataFrame:
    if not path.exists():
        raise missing(path)
    return read(path)


def _optional(path: Path) -> pd.DataFrame | None:
    """Read the table; None when there is none or it has no rows."""
    if not path.exists() or path.stat().st_size == 0:
        return None
    table = pd.read_csv(path)
    return None if table.empty else table
