"""The configuration that a study was last called with is kept in it, so that its name is enough to go on."""

from pathlib import Path

import optuna
from omegaconf import OmegaConf

from thawline.artifacts import Artifacts
from thawline.config.composition import to_config
from thawline.config.errors import UserError
from thawline.config.sections import Config
from thawline.training.recipe import lock_of

CONFIG, ROOT, OUTPUTS = "config", "root", "outputs"
"""User attributes of a study: the whole configuration as YAML, the repository, and the folder that the stage
wrote to."""


def remember(study: optuna.Study, config: Config, artifacts: Artifacts) -> None:
    """Keep the latest call's configuration, without its passwords, and folders with the study."""
    told = {
        CONFIG: lock_of(config),
        ROOT: str(artifacts.root.resolve()),
        OUTPUTS: str(artifacts.outputs.resolve()),
    }
    for name, value in told.items():
        if study.user_attrs.get(name) != value:
            study.set_user_attr(name, value)


def configuration(study: optuna.Study) -> Config | None:
    """Return the configuration of the last call; None where the study has none.

    Raises `ConfigError` for one that is no longer allowed.
    """
    text = study.user_attrs.get(CONFIG)
    return None if text is None else to_config(OmegaConf.create(text))


def by_hand(study: optuna.Study) -> Artifacts:
    """Return where to go on with the study by hand: below scratch/, so that DVC's files stay as it made them.

    A study that was begun by hand goes on in its own folder.

    Raises `UserError` where the repository that the study was begun in is not on this machine.
    """
    root, outputs = (Path(study.user_attrs[name]) for name in (ROOT, OUTPUTS))
    if not root.is_dir():
        raise UserError(
            f"The study {study.study_name!r} was begun in {root}, which is not there.\n"
            "  run the search again where its data are; it goes on with the study by itself"
        )
    if outputs != root / "artifacts":
        return Artifacts(root, outputs, outputs / "reports")
    return Artifacts.under(root, f"resumed/{study.study_name}")
