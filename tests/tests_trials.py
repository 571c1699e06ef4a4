"""A contender's study, run from its configuration."""

import optuna

from thawline import tracking
from thawline.artifacts import Artifacts
from thawline.config.sections import Config
from thawline.search.study.run import run_study
from thawline.search.trial.trials import Trials


def run(config: Config, artifacts: Artifacts) -> tuple[Trials, optuna.Study]:
    tracking.connect(config.tracking.uri, config.tracking.experiment, artifacts.root)
    tags = {"seed": 0, "data_fingerprint": ""}
    with tracking.run("search", stage="search", parameters={}, tags=tags) as parent:
        study = run_study(Trials, config, artifacts, parent.id, "search")
    return Trials(config, artifacts), study
