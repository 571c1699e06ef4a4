"""The stage `search`. `before` is how long it took until the first trial; `finished` counts from there."""

from datetime import datetime
from pathlib import Path

import optuna
import pandas as pd
from contestants.study import Study
from contestants.task import Prepared, Trained

from thawline.artifacts import TRIALS
from thawline.search.search import search


def prepare(path: Path) -> Prepared:
    study = Study.load(path)
    config, artifacts = study.config(), study.artifacts

    def run() -> Trained:
        began = datetime.now()
        search(config, artifacts)
        (summary,) = optuna.get_all_study_summaries(f"sqlite:///{artifacts.studies}")
        assert summary.datetime_start is not None
        table = pd.read_csv(artifacts.stage_output("search", "finetuned") / TRIALS)
        columns = ["depth", "head_lr", "body_lr", "state", "value", "val_loss", "finished"]
        return {
            "before": (summary.datetime_start - began).total_seconds(),
            "trials": table.reindex(columns=columns)
            .astype(object)
            .where(table.notna(), None)
            .to_dict("records"),
        }

    return run
