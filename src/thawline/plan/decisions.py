"""What a plan decided: values of the configuration, kept in a file that later stages obey."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from thawline.artifacts import FORECAST, PLAN, Artifacts, read_json, write_json
from thawline.config.composition import to_config
from thawline.config.sections import Config


@dataclass(frozen=True)
class Decisions:
    """Settings by their dotted names (`finetune.epochs`), which take the place of the configured ones.

    `basis` is the fingerprint of what they were decided on: pictures, network, settings and minutes. There is
    no second, date or speed among them: a reproduction repeats them whatever its clock says.
    """

    basis: str = ""
    settings: dict[str, Any] = field(default_factory=dict)


def read_decisions(path: Path) -> Decisions:
    """Read plan.json. Raises `UserError` where it is missing or damaged."""
    return Decisions(**read_json(path))


def write_decisions(path: Path, decisions: Decisions) -> None:
    """Write plan.json; equal decisions give equal bytes."""
    write_json(path, {"basis": decisions.basis, "settings": decisions.settings})


def applied(config: Config, decisions: Decisions) -> Config:
    """Return `config` with what was decided in place of what is configured."""
    values = OmegaConf.structured(config)
    for name, value in decisions.settings.items():
        OmegaConf.update(values, name, value, merge=False)
    return to_config(values)


def planned(config: Config, artifacts: Artifacts) -> Config:
    """Return the configuration that stages after `plan` obey: as it is where no minutes are given."""
    if config.plan.minutes is None:
        return config
    return applied(config, read_decisions(artifacts.stage("plan") / PLAN))


def seconds_after(config: Config, artifacts: Artifacts, stage: str) -> float | None:
    """Return the seconds that the stages after `stage` will take, as the plan says; None where none does."""
    later = {"search": ("finetune", "rest"), "finetune": ("rest",)}.get(stage, ())
    path = artifacts.stage("plan") / FORECAST
    if config.plan.minutes is None or not later or not path.exists():
        return None
    expected = read_json(path)
    return sum(float(expected[name]) for name in later)
