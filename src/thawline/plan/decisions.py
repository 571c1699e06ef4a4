"""What a plan decided: values of the configuration, kept in a file that later stages obey."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from thawline.artifacts import FORECAST, PLAN, STOPPED, Artifacts, read_json, write_json
from thawline.clock import COUNTED, Clock
from thawline.config.composition import to_config
from thawline.config.sections import Config
from thawline.training.recipe import plain

OVER = 1.15
"""By what factor all stages together may exceed their minutes before a search is ended."""


BY_PLAN = "plan "
"""Beginning of the clock's key where a plan has it count; the rest is the plan's basis."""


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


def decide_nothing(artifacts: Artifacts) -> None:
    """Write what a plan is without `plan.minutes`: no decisions, and no model yet."""
    folder = artifacts.stage_output("plan")
    write_decisions(folder / PLAN, Decisions())
    write_json(folder / "model" / "absent.json", {"absent": "plan.minutes is null"})


def applied(config: Config, decisions: Decisions) -> Config:
    """Return `config` with what was decided in place of what is configured."""
    # as plain values: with their types, making it takes several times as long
    values = OmegaConf.create(plain(config))
    for name, value in decisions.settings.items():
        OmegaConf.update(values, name, value, merge=False)
    return to_config(values)


def planned(config: Config, artifacts: Artifacts) -> Config:
    """Return the configuration that stages after `plan` obey: as it is where no minutes are given."""
    if config.plan.minutes is None:
        return config
    return applied(config, read_decisions(_file(artifacts, PLAN)))


def as_far(config: Config, artifacts: Artifacts) -> Config:
    """Return the planned configuration of one contender; where the clock ended its search, with the number of
    trials that it left: a reproduction runs as many."""
    path = _file(artifacts, STOPPED)
    if config.plan.minutes is None or not path.exists():
        return config
    left, (contender,) = _left(config, artifacts, path), config.contenders
    if contender.name not in left:
        return config
    return applied(config, Decisions(settings={"search.trials": left[contender.name]}))


def stop_at(config: Config, artifacts: Artifacts, trials: dict[str, int]) -> None:
    """Write stopped.json: after how many trials the clock ended the search of a contender, by its name; it
    keeps what an earlier call of the same plan left there."""
    path = artifacts.stage_output("plan") / STOPPED
    kept = _left(config, artifacts, path) if path.exists() else {}
    write_decisions(path, Decisions(_basis_of(config, artifacts), kept | trials))


def _left(config: Config, artifacts: Artifacts, path: Path) -> dict[str, int]:
    found = read_decisions(path)
    return found.settings if found.basis == _basis_of(config, artifacts) else {}


def _basis_of(config: Config, artifacts: Artifacts) -> str:
    return "" if config.plan.minutes is None else read_decisions(_file(artifacts, PLAN)).basis


def _file(artifacts: Artifacts, name: str) -> Path:
    """Return where a file of the plan is read from: a search by hand writes its own stopped.json, and obeys
    the plan of the pipeline."""
    return artifacts.find(f"plan/{name}")


def count_time(artifacts: Artifacts, basis: str, repeated: bool) -> None:
    """Let the time of the plan made from `basis` count from now on, unless a `thawline fit` at work counts it
    already, or it is unfinished and goes on. Decisions that are only `repeated` take as long as they take."""
    clock = Clock(artifacts.clock)
    if clock.key not in (BY_PLAN + basis, os.environ.get(COUNTED)):
        # what was used up by a fit that failed is not this work's
        clock.stop()
    if clock.key is None and not repeated:
        clock.start(BY_PLAN + basis)


def count_no_longer(artifacts: Artifacts) -> None:
    """End what `count_time` began; `thawline fit` ends what it counts by itself."""
    clock = Clock(artifacts.clock)
    if (clock.key or "").startswith(BY_PLAN):
        clock.stop()


def seconds_for_search(config: Config, artifacts: Artifacts) -> float | None:
    """Return after how many seconds a search ends with what it has: when the minutes are over by `OVER`, less
    what follows; None where no minutes are given or nobody counts the time."""
    used = Clock(artifacts.clock).used()
    if config.plan.minutes is None or used is None:
        return None
    return OVER * 60 * config.plan.minutes - used - (seconds_after(config, artifacts, "search") or 0.0)


def seconds_after(config: Config, artifacts: Artifacts, stage: str) -> float | None:
    """Return the seconds that the stages after `stage` will take, as the plan says; None where none does."""
    later = {"search": ("finetune", "rest"), "finetune": ("rest",)}.get(stage, ())
    path = _file(artifacts, FORECAST)
    if config.plan.minutes is None or not later or not path.exists():
        return None
    expected = read_json(path)
    return sum(float(expected[name]) for name in later)
