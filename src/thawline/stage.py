"""The way from a script of pipelines/ to a stage: configuration in, one function called, errors for people.

`python pipelines/X.py -cd . -cn params` (as dvc.yaml calls it) runs from the lock and writes to artifacts/;
`python pipelines/X.py key=value` composes conf/ and writes below scratch/.
"""

import logging
import os
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from filelock import FileLock, Timeout
from omegaconf import DictConfig, OmegaConf

from thawline import machine, tracking
from thawline.artifacts import Artifacts
from thawline.by_hand import refuse_other_task, scratch_name
from thawline.choose_source.decision import with_chosen_source
from thawline.clock import Clock
from thawline.config.candidates import spell_out
from thawline.config.composition import load_lock, located, to_config
from thawline.config.errors import FULL_DISK, UserError, is_full_disk
from thawline.config.plugin import install
from thawline.config.sections import Config
from thawline.config.weight_files import is_weight_file
from thawline.launcher import FailedTogetherError, end_with_parent, launch, quiet_torch, report_failure
from thawline.plan.decisions import count_no_longer, seconds_after
from thawline.progress import Place
from thawline.progress import stage as show_stage

Stage = Callable[[Config, Artifacts], None]

STAGES = (
    *("params", "code", "prepare_source", "choose_source", "prepare_target", "pretrain", "replace_head"),
    "supervise",
    *("plan", "review", "search", "finetune", "export", "evaluate", "report"),
)
"""Stages in the order in which dvc.yaml has them."""

BEFORE_CHOICE = ("prepare_source", "choose_source")
"""Stages that run before it is known which of `source.candidates` is the source; later ones find it in place
of the configured one, and know nothing of the others."""

DISTRIBUTED = ("pretrain", "finetune")
"""Stages that several processes may run together (trainer.devices, trainer.nodes)."""

LOCKED = ("-cd", ".", "-cn", "params")
"""How dvc.yaml calls a script; `role=` may follow."""

QUIET = (
    "hydra.run.dir=.",
    "hydra.sweep.dir=.",
    "hydra.sweep.subdir=.",
    "hydra.output_subdir=null",
    "hydra.job.chdir=false",
    "hydra/job_logging=none",
    "hydra/hydra_logging=none",
)
"""Hydra writes no folders and logs nothing of its own. Given here, not in conf/, because params.yaml
has no `hydra` node."""


def run(script: str, stage: Stage, reads: tuple[str, ...] = ()) -> None:
    """Run `stage` as the script `script` (its `__file__`).

    Args:
        reads: the artifacts it reads, `{contender}` in place of each contender's name. By hand, what decided
            them must agree with the lock, or the stage would read artifacts of another task. After the choice
            of a source every stage reads that as well.
    """
    machine.start_threads_sparingly()
    root = Path(script).resolve().parents[1]
    name = Path(script).stem
    command = list(sys.argv)
    _prepare_process()

    def task(read: Callable[[], Any], locked: bool, given: Sequence[str]) -> None:
        try:
            values = read()
            OmegaConf.resolve(values)
            _run_stage(name, stage, values, root, locked, reads, command, given)
        except BaseException as error:
            _exit(name, error)

    by_lock = tuple(sys.argv[1:5]) == LOCKED and all(each.startswith("role=") for each in sys.argv[5:])
    with machine.ending_at_once(name):
        if by_lock:
            task(lambda: _lock(root, sys.argv[5:]), True, sys.argv[5:])
        else:
            _composed(root, task)


def _lock(root: Path, role: Sequence[str]) -> Any:
    """Return what Hydra would make of the lock, which is composed already: loading Hydra, which composes it
    twice, takes half of what it takes to start a stage."""
    values = OmegaConf.merge(load_lock(Path.cwd()), OmegaConf.from_dotlist(list(role)))
    spell_out(values, root, located)
    return values


def _composed(root: Path, task: Callable[..., None]) -> None:
    """Call `task` with what Hydra composes as the command line says, once or, in a sweep, several times."""
    import hydra

    install(root)
    sys.argv[:] = quiet(sys.argv)

    def composed(values: DictConfig) -> None:
        from hydra.core.hydra_config import HydraConfig

        hydra_config = HydraConfig.get()
        locked = hydra_config.job.config_name == "params"
        task(lambda: values, locked, list(hydra_config.overrides.task))

    hydra.main(version_base=None, config_path=str(root / "conf"), config_name="config")(composed)()


def _prepare_process() -> None:
    """Set up logging, and where processes train together, let one talk and all end with their launcher."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    if machine.by_torchrun() or "DVC_STAGE" in os.environ:
        # or who kills DVC would leave this process at work, beside the next call
        end_with_parent()
    if machine.by_torchrun():
        quiet_torch()
    if not machine.leads():
        logging.getLogger().setLevel(logging.ERROR)
        warnings.simplefilter("ignore")


def _exit(name: str, error: BaseException) -> NoReturn:
    """End the process as `error` deserves. What ends several processes is said once, by their launcher."""
    together = machine.by_torchrun()
    if isinstance(error, KeyboardInterrupt):
        if not together:
            sys.stderr.write(f"\nstage {name} interrupted; run the same command again to go on\n")
        sys.exit(130)
    if isinstance(error, FailedTogetherError):
        sys.exit(str(error))
    if is_full_disk(error):
        error = UserError(f"{FULL_DISK}: it goes on")
    expected = isinstance(error, UserError)
    text = f"error in stage {name}: {error}" if expected else traceback.format_exc()
    if together and not isinstance(error, SystemExit):
        report_failure(text, expected=expected)
        sys.exit(1)
    if expected:
        sys.exit(text)
    raise error


def quiet(arguments: list[str]) -> list[str]:
    """Put `QUIET` beside the last override of a command line: the parser wants overrides together."""
    overrides = [i for i, each in enumerate(arguments) if i and "=" in each and not each.startswith("-")]
    place = overrides[-1] + 1 if overrides else len(arguments)
    return [*arguments[:place], *QUIET, *arguments[place:]]


def _run_stage(
    name: str,
    stage: Stage,
    values: Any,
    root: Path,
    locked: bool,
    reads: tuple[str, ...],
    command: Sequence[str],
    given: Sequence[str],
) -> None:
    config = to_config(values)
    if _needs_launcher(name, config):
        launch(config.trainer, command)
        return
    for section in (config.source, config.target):
        section.root = section.root and str(located(section.root))
    weights = config.source.weights
    if weights and is_weight_file(weights):
        config.source.weights = str(located(weights))
    place = f"prepare_{config.role.name}" if name == "prepare" else name
    if locked:
        artifacts = Artifacts.under(root)
    else:
        artifacts = Artifacts.under(root, scratch_name(values))
        chosen = () if place in BEFORE_CHOICE else ("choose_source",)
        refuse_other_task(name, artifacts, config, values, (*chosen, *reads), given)
    if place not in BEFORE_CHOICE:
        config = with_chosen_source(config, artifacts)
    if locked and place in STAGES:
        _say_place(config, artifacts, place)
    timed = locked and config.plan.minutes is not None and machine.leads()
    with (
        _locked(root, f"{name}-{config.role.value}") if machine.leads() else nullcontext(),
        Clock(artifacts.clock).running() if timed else nullcontext(),
    ):
        stage(config, artifacts)
        if machine.leads():
            tracking.send_what_waits(config.tracking.uri, config.tracking.experiment, artifacts.root)
    if timed and place == STAGES[-1]:
        count_no_longer(artifacts)
    if not locked:
        logging.getLogger(__name__).info("written below %s", artifacts.outputs.relative_to(root))


def _say_place(config: Config, artifacts: Artifacts, name: str) -> None:
    """Say which stage of all this is, now and in every line of progress."""
    after = partial(seconds_after, config, artifacts, name)
    show_stage(place := Place(name, STAGES.index(name) + 1, len(STAGES), after))
    logging.getLogger(__name__).info("stage %d of %d: %s", place.number, place.of, name)


def _needs_launcher(name: str, config: Config) -> bool:
    """Tell if this stage is to be run by several processes that are still to be started."""
    trains = name in DISTRIBUTED and not (name == "pretrain" and config.source.weights)
    if machine.by_torchrun():
        if machine.world_size() > 1 and not trains:
            raise UserError(
                f"stage {name} runs in one process, but torchrun started {machine.world_size()}.\n"
                f"  call it without torchrun (together train: {' and '.join(DISTRIBUTED)}; a search has "
                "search.workers)"
            )
        return False
    return trains and config.trainer.devices * config.trainer.nodes > 1


def _locked(root: Path, name: str) -> FileLock:
    """Hold a lock while a stage runs: a killed DVC may leave it running, beside the next call's."""
    lock = FileLock(root / "scratch" / "locks" / f"{name}.lock", timeout=0)
    Path(lock.lock_file).parent.mkdir(parents=True, exist_ok=True)
    try:
        lock.acquire()
    except Timeout:
        said = f"another process is running this stage ({lock.lock_file} is held)."
        raise UserError(f"{said}\n  wait for it, or end it, then run again") from None
    return lock
