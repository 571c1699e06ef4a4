"""What a stage called by hand may read: what was made with its own values, and never another task's.

Stages called by hand write below scratch/, in one folder for equal values, and read from artifacts/ only what
the lock's values, as far as they decide it, would have made the same.
"""

from collections.abc import Collection, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from thawline.artifacts import TARGETS, TOLD, Artifacts, fingerprint
from thawline.config.composition import flatten, load_lock
from thawline.config.errors import UserError
from thawline.config.overrides import override, shell_line
from thawline.config.sections import Config
from thawline.config.supervision import is_supervised

NOT_DECIDING = (
    "contenders",
    "search.workers",
    "search.engine",
    "search.address",
    "search.storage",
    "search.heartbeat",
    "search.grace",
    "search.attempts",
    "trainer.prefix_cache",
    "trainer.prefix_cache_gib",
)
"""Values that say what is computed, by whom, and how a study survives, not what is found."""

SAYS_WHETHER = {"choose_source": "source.candidates", "supervise": "supervise", "plan": "plan"}
"""What says of stages that may have nothing to do whether they have."""


FIRST_MODEL = ("export.unknown_share", "evaluate.costs")
"""What decides how the plan's first model answers, and nothing that stages read of the plan."""


def scratch_name(values: Any) -> str:
    """Name one folder per configuration, whichever part of a stage it runs, so that stages called by hand
    with equal values find each other's results."""
    rest = {key: value for key, value in flatten(values).items() if key not in ("role", "contenders")}
    return fingerprint({key: str(value) for key, value in rest.items()})[:8]


def refuse_other_task(
    name: str,
    artifacts: Artifacts,
    config: Config,
    values: Any,
    reads: tuple[str, ...],
    given: Sequence[str] = (),
) -> None:
    """Refuse to read from artifacts/ what other values made than these, or nobody yet. Only what no earlier
    stage called by hand with these values has left is read from there.

    given: the overrides that were typed.
    """
    named = [each.format(contender=one.name) for each in reads for one in config.contenders]
    told = is_supervised(config) or (artifacts.stage("supervise", TOLD) / TARGETS).exists()
    # nobody reads what nothing decided
    undecided = {
        "choose_source": not config.source.candidates,
        "supervise": not told,
        "plan": config.plan.minutes is None,
    }
    idle = {each for each, nothing in undecided.items() if nothing}
    named = [each for each in named if each not in idle]
    inputs = [each for each in named if not (artifacts.outputs / each).exists()]
    absent = [each for each in inputs if not artifacts.find(each).exists()]
    ours, lock = flatten(values), flatten(load_lock(artifacts.root))
    for key, value in ours.items():
        if key in NOT_DECIDING or value == lock.get(key):
            continue
        concerned = [
            each
            for each in inputs
            if any(f"{key}.".startswith(f"{name}.") for name in decided_by(each, artifacts.root, idle))
        ]
        asked = [each for each in given if not each.startswith("role=")] or [override(key, value)]
        pipeline = shell_line(["dvc", "exp", "run", *(word for each in asked for word in ("-S", each))])
        if concerned and set(concerned) <= set(absent):
            first = min(concerned, key=lambda each: len(decided_by(each, artifacts.root)))
            maker = shell_line([*_command_of(first), *asked])
            raise UserError(
                f"{key} = {value}, but artifacts/{first}, which stage {name} reads, is not there: "
                "nothing was made with these values yet.\n"
                f"  make it: {maker}\n  or run the whole pipeline: {pipeline}"
            )
        if concerned:
            raise UserError(
                f"{key} = {value}, but what stage {name} would read from artifacts/ was made with "
                f"{lock.get(key)}.\n  run the whole pipeline: {pipeline}"
            )


def _command_of(artifact: str) -> list[str]:
    """Return the command that makes an artifact, less the values."""
    stage, _, part = artifact.partition("/")
    role = [f"role={'source' if part == 'source' else 'target'}"] if stage == "prepare" else []
    return ["python", f"pipelines/{stage}.py", *role]


def decided_by(artifact: str, root: Path, idle: Collection[str] = ()) -> list[str]:
    """Name the values that decided what lies in an artifact: those that dvc.yaml in `root` lists for its
    stage and for all that this one depends on.

    idle: stages that have nothing to do with these values. What says so counts, but nothing else of theirs.
    """
    stages = _stages(root / "dvc.yaml")
    found, waiting = list[str](), [_stage_of(artifact)]
    for stage in waiting:
        entry = stages[stage]
        listed = [name for each in entry.get("params", ()) for name in each["params.yaml"]]
        if stage == "plan" and artifact != "plan/model":
            listed = [name for name in listed if name not in FIRST_MODEL]
        found += [SAYS_WHETHER[stage]] if stage in idle else listed
        of = (_stage_of(each.removeprefix("artifacts/")) for each in entry["deps"] if "artifacts/" in each)
        waiting += [each for each in dict.fromkeys(of) if each not in waiting]
    return found


def _stage_of(artifact: str) -> str:
    """Return the entry of dvc.yaml that makes an artifact."""
    stage, part = (*artifact.split("/"), "")[:2]
    if stage == "prepare":
        return "prepare_source" if part == "source" else "prepare_target"
    return stage


@cache
def _stages(path: Path) -> Any:
    import yaml

    return yaml.safe_load(path.read_text(encoding="utf-8"))["stages"]
