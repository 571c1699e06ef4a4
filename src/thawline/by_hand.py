"""What a stage called by hand may read: what was made with its own values, and never another task's.

Stages called by hand write below scratch/, in one folder for equal values, and read from artifacts/ only what
the lock's values, as far as they decide it, would have made the same.
"""

from collections.abc import Collection, Sequence
from typing import Any

from thawline.artifacts import TARGETS, TOLD, Artifacts, fingerprint
from thawline.config.composition import flatten, load_lock
from thawline.config.errors import UserError
from thawline.config.overrides import override, shell_line
from thawline.config.sections import Config
from thawline.config.supervision import is_supervised

NOT_DECIDING = (
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
"""Values that say who computes what and how a study survives, not what it finds."""


TAKEN = {
    "choose_source": (
        "plan.minutes",
        "evaluate.confidence",
        *("trainer.accelerator", "trainer.precision", "trainer.threads"),
    ),
    "supervise": ("review.repeats", "export.unknown_share"),
}
"""Values of later stages' sections that decide what a stage finds where it has something to do."""


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
            if any(f"{key}.".startswith(f"{section}.") for section in decided_by(each, idle))
        ]
        asked = [each for each in given if not each.startswith("role=")] or [override(key, value)]
        pipeline = shell_line(["dvc", "exp", "run", *(word for each in asked for word in ("-S", each))])
        if concerned and set(concerned) <= set(absent):
            first = min(concerned, key=lambda each: len(decided_by(each, idle)))
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


def decided_by(artifact: str, idle: Collection[str] = ()) -> tuple[str, ...]:
    """Name the configuration sections that decided what lies in an artifact.

    idle: stages that have nothing to do with these values. Their own section counts, which says so, but not
        what they would take from others.
    """
    stage = artifact.partition("/")[0]
    decides = {
        "choose_source": ("seed", "source", "target", "input"),
        "prepare": (),
        "pretrain": ("model", "pretrain", "trainer"),
        "replace_head": (),
        "supervise": ("supervise",),
        "plan": ("plan",),
        "search": ("search", "finetune"),
        "finetune": (),
        "export": ("export", "evaluate.costs"),
        "evaluate": ("evaluate",),
        "review": ("review",),
    }
    order = list(decides)
    earlier = order[: order.index(stage) + 1]
    further = [name for each in earlier if each not in idle for name in TAKEN.get(each, ())]
    return (*(name for each in earlier for name in decides[each]), *further)
