"""The stage `search`."""

from pathlib import Path

import pandas as pd
from contestants.study import Study
from contestants.task import Prepared, Trained

from thawline.artifacts import TRIALS


def prepare(path: Path) -> Prepared:
    study = Study.load(path)
    config, artifacts = study.config(), study.artifacts

    def run() -> Trained:
        from thawline.search.search import search

        search(config, artifacts)
        table = pd.read_csv(artifacts.stage_output("search", "finetuned") / TRIALS)
        columns = ["depth", "head_lr", "body_lr", "state", "value", "val_loss", "finished"]
        return {
            "trials": table.reindex(columns=columns)
            .astype(object)
            .where(table.notna(), None)
            .to_dict("records")
        }

    return run
