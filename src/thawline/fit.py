"""`thawline fit`: one command from a folder of photographs to a model and an answer.

It is a `dvc exp run` with the right settings, which it prints, with a clock that outlives interruptions.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple
from pathlib import Path

from filelock import FileLock, Timeout
from omegaconf import OmegaConf

from thawline.answer import answer
from thawline.artifacts import Artifacts, fingerprint
from thawline.branch import on_its_branch, put_back
from thawline.clock import COUNTED, Clock
from thawline.config.addresses import advice, is_address
from thawline.config.candidates import Candidate
from thawline.config.composition import LOCK
from thawline.config.errors import UserError, closest
from thawline.config.overrides import override, quoted, readable, shell_line
from thawline.config.paths import (
    expanded,
    is_nameable,
    missing,
    require_accessible,
    require_watchable,
    shown,
    why_inaccessible,
)
from thawline.config.weight_files import is_weight_file
from thawline.data.naming import TABLES
from thawline.fits import keep
from thawline.launcher import end_child_with_us


def command(
    folder: Path, minutes: float | None, sources: Sequence[str], settings: Sequence[str], root: Path
) -> list[str]:
    """Return the `dvc exp run` that fits a classifier to `folder`.

    Args:
        folder: pictures in a folder for each class (or an archive of them), or a CSV that lists pictures.
        minutes: of the whole; None: as much as is configured takes.
        sources: a name in conf/source, or a file with weights; or several to choose from, each as in
            `source.candidates`.
        settings: further `NAME=VALUE`.

    Raises:
        UserError: the folder or the source does not exist, or DVC could not read it.
    """
    found = expanded(folder)
    require_accessible(found)
    if not found.exists():
        raise UserError(f"{missing(found)}.\n  give a folder with one folder for each class")
    require_watchable(_absolute(folder))
    target = "table" if folder.suffix.lower() in TABLES else "image_folder"
    chosen = [f"target={target}", override("target.root", str(_absolute(folder)))]
    if minutes is not None:
        chosen.append(f"plan.minutes={minutes:g}")
    source = _candidates(sources) if len(sources) > 1 else _source(sources[0], root)
    given = [*source, *chosen, *map(readable, settings)]
    return ["dvc", "exp", "run", *(part for each in given for part in ("-S", each))]


def _source(source: str, root: Path) -> list[str]:
    names = sorted(path.stem for path in (root / "conf" / "source").glob("*.yaml"))
    if source in names:
        return [f"source={source}"]
    if is_address(source):
        raise UserError(f"--source {source} is an address.\n  give {advice(source)}")
    path = _accessible(source, source)
    if path.is_file():
        return ["source=weights", override("source.weights", str(_absolute(path)))]
    one = Candidate.of(source)
    if is_weight_file(one.weights):
        # named as the source's own weights, the file is watched
        weights = override("source.weights", _weights(source, one))
        return ["source=weights", weights, override("model.architecture", one.architecture)]
    if "=" in source or source.startswith("timm:"):
        return _candidates([source])
    if is_weight_file(source) or "/" in source:
        raise UserError(f"--source {source}: there is no such file.")
    raise UserError(
        f"--source {source} is no source; nearest: {closest(source, names)}.\n"
        f"  all of them: {', '.join(names)}; or a file with weights"
    )


def _candidates(sources: Sequence[str]) -> list[str]:
    found = [(each, Candidate.of(each)) for each in sources]
    spelt = [
        f"{one.architecture}={_weights(each, one)}" if is_weight_file(one.weights) else each
        for each, one in found
    ]
    return ["source=weights", f"source.candidates=[{','.join(map(quoted, spelt))}]"]


def _weights(source: str, one: Candidate) -> str:
    """Return the file of a source as DVC, which works in another folder, is told it."""
    if is_address(one.weights):
        raise UserError(f"--source {source} names an address.\n  give {advice(one.weights)}")
    path = _accessible(source, one.weights)
    if not path.is_file():
        raise UserError(f"--source {source}: there is no file {one.weights}.")
    return str(_absolute(path))


def _accessible(source: str, typed: str) -> Path:
    """Return the path that was typed in `--source`, of which the system tells what lies there."""
    path = expanded(typed)
    if (why := why_inaccessible(path)) is not None:
        raise UserError(f"--source {shown(source)} cannot be looked at: {why}.")
    return path


def _absolute(path: Path) -> Path:
    """Return the path as DVC and params.yaml are told it: where links lead, unless those cannot hold that."""
    found = expanded(path).resolve()
    if is_nameable(found):
        return found
    return Path(os.path.abspath(expanded(path)))  # noqa: PTH100 - a link stays a link


def fit(
    folder: Path, minutes: float | None, sources: Sequence[str], settings: Sequence[str], root: Path
) -> None:
    """Run the pipeline on `folder`, then say what it found and where it lies.

    The same command goes on after an interruption, and the time that was used counts. What an earlier fit
    made stays below `fits/`; params.yaml is put back unless the pipeline came to its end.

    Raises:
        UserError: folders do not say what the classes are, another fit is at work in this clone, or the
            pipeline failed and has said why.
        KeyboardInterrupt: Ctrl-C; all processes have ended.
    """
    run = command(folder, minutes, sources, settings, root)
    with _alone(root):
        _fit(folder, run, root)


@contextmanager
def _alone(root: Path) -> Iterator[None]:
    """Let no other fit begin in this clone: it would change the settings of the one that is at work."""
    lock = FileLock(root / "scratch" / "locks" / "fit.lock", timeout=0)
    Path(lock.lock_file).parent.mkdir(parents=True, exist_ok=True)
    try:
        lock.acquire()
    except Timeout:
        raise UserError(f"another fit is at work in {root}.\n  wait for it, or use another clone") from None
    try:
        yield
    finally:
        lock.release()


def _fit(folder: Path, run: list[str], root: Path) -> None:
    require_whole_files(root)
    artifacts, clock = Artifacts.under(root), Clock(Artifacts.under(root).clock)
    lock = root / LOCK
    before = lock.read_bytes() if lock.exists() else None
    sys.stdout.write(f"{shell_line(run)}\n")
    lines, pictures = look(run, root)
    for line in lines:
        sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
    # other pictures are other work: what was used for those before does not count
    key = fingerprint([run, pictures])
    used = clock.start(key)
    if used > 1:
        sys.stdout.write(f"goes on: {used:.0f} s of its time were used before\n")
    code = 1
    try:
        with on_its_branch(root), clock.running():
            code = _run(run, root, {COUNTED: key})
    finally:
        if code and before is not None:
            put_back(lock, before, root)
    if code:
        raise UserError(
            "the pipeline did not come to its end, for the reason above.\n"
            "  when that is put right, the same command goes on"
        )
    seconds = clock.used() or 0.0
    clock.stop()
    kept = keep(artifacts, _absolute(folder))
    planned = OmegaConf.load(kept / LOCK).plan.minutes is not None
    for line in answer(artifacts, kept, seconds, planned):
        sys.stdout.write(f"{line}\n")


def require_whole_files(root: Path) -> None:
    """Raise `UserError` where a file of DVC's ends in the middle, as it leaves one where the disk was full or
    it was killed: every later call of DVC would end with an error."""
    lock, at_work = root / "dvc.lock", root / ".dvc" / "tmp" / "rwlock"
    if lock.exists() and not _is_lock(lock.read_text()):
        raise UserError(
            "dvc.lock ends in the middle, as DVC leaves it where the disk was full or it was killed.\n"
            "  take back the last whole one: git checkout dvc.lock"
        )
    if at_work.exists() and not _is_json(at_work.read_text()):
        raise UserError(
            ".dvc/tmp/rwlock ends in the middle, as DVC leaves it where the disk was full or it was killed.\n"
            "  it says who is at work; while nobody is, remove it: rm .dvc/tmp/rwlock"
        )


def _is_lock(text: str) -> bool:
    """Tell whether DVC can read a lock: what is left of one may still be YAML."""
    # half a second, which only those wait for who have a lock
    import yaml
    from dvc.schema import COMPILED_LOCKFILE_SCHEMA

    try:
        COMPILED_LOCKFILE_SCHEMA(yaml.load(text, yaml.CSafeLoader))
    except Exception:  # of YAML, or of a validator that DVC brings
        return False
    return True


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def look(run: Sequence[str], root: Path) -> tuple[list[str], str]:
    """Return which classes the pictures are of and how many there are, before anything is made of them; and
    the fingerprint of their names, classes, splits and groups.

    Raises `UserError` where their folders do not say, and where what mistakes cost is not of these classes:
    else that would be said only when all pictures had been looked at.
    """
    # pandas and Hydra are not loaded for a command that is wrong
    from thawline.config.composition import compose, to_config
    from thawline.config.sections import Role
    from thawline.data.costs import configured_costs
    from thawline.data.overview import overview
    from thawline.data.votes import collected

    config = to_config(compose(root, list(run[4::2])))
    found = collected(config.target, Role.target, config.seed)[0]
    labels = {item.label for item in found.items}
    whole = not found.losses.of_class and not config.target.allow_missing_classes
    if "" not in labels and whole:
        configured_costs(config.evaluate.costs, sorted(labels))
    return list(overview(found, Role.target)), fingerprint([astuple(item) for item in found.items])


def _run(run: Sequence[str], root: Path, told: dict[str, str]) -> int:
    """Run DVC in `root`, with variables for its stages; return its exit status. It and the stage it runs end
    when this process does."""
    program = Path(sys.executable).with_name(run[0])
    found = str(program) if program.exists() else shutil.which(run[0])
    if found is None:
        raise UserError("DVC is not installed here.\n  make setup, then: source .venv/bin/activate")
    # stages are started as `python`: this environment's
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    process = subprocess.Popen(
        [found, *run[1:]], cwd=root, env={**os.environ, **told, "PATH": path}, preexec_fn=end_child_with_us
    )
    try:
        return process.wait()
    except KeyboardInterrupt:
        # the terminal has told the children, too: they put things in order
        previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            process.wait()
        finally:
            signal.signal(signal.SIGINT, previous)
        raise
