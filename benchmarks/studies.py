"""Whole studies beside Optuna's tutorial: a measurement of speed.py."""

import logging
import math
import shutil
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from contestants.study import Study
from contestants.task import Task
from side_by_side import Measured, Row, row
from tasks import deepest, named, process, sides

log = logging.getLogger("studies")


def studies(task: Task, size: int, rate: float, rounds: int) -> Iterator[list[Row]]:
    """A grid of depths and learning rates, every training to its end: by Optuna's tutorial with Lightning,
    one after the other with all threads, and by ours with as many workers as threads. The same grid against
    what ours would do to find a good recipe: `search=quick`, which starts with known ones, prunes and ends
    after fifteen trials. Every round is the same work."""
    if task.device != "cpu":
        raise SystemExit("studies are compared on a CPU alone: leave out --device")
    task = replace(task, epochs=max(1, task.epochs // 4))
    last = deepest(task.architecture)
    depths = [0, last // 2, last - 1, last]
    quick = ("search=quick", f"search.workers={task.threads}", "trainer.threads=1")
    # three values of each of the rates that there are: 9 recipes, and 3 where the head alone learns
    grid = ("search.sampler=grid", "search.grid_points=3", f"search.space.depths={depths}")
    whole = (*quick, *grid, "search.trials=30", "search.pruner=none", "search.known=[]")
    rows = []
    for turn in range(rounds):
        folder = Path(task.folder) / f"study-{turn}"
        shutil.rmtree(folder, ignore_errors=True)
        study = Study(str(folder / "grid"), asdict(task), whole)
        ours = ran(study, "study_ours")
        peer = ran(replace(study, given=tuple(_given(task, ours))), "study_tutorial")
        known = ran(Study(str(folder / "quick"), asdict(task), quick), "study_ours")
        rows.append((ours, peer, known))
        for name, said in (("the grid", ours), ("the grid by the tutorial", peer), ("quick", known)):
            best, close = max(_finished(said), key=lambda trial: trial["value"]), _close(said, peer)
            log.info("round %d, %s: %.0f s, best %s", turn, name, said["seconds"], best)
            log.info("  one within a point of the tutorial's best after %.0f s", close)
    mine, theirs, known = zip(*rows, strict=True)
    plain, limit = "Optuna and Lightning", _limit(task, size, rate, mine[0])
    recipes = f"a grid of {len(mine[0]['trials'])} recipes"
    yield [
        row(named(task, size, recipes), plain, mine, theirs, limit),
        row(named(task, size, f"search=quick against {recipes}"), plain, known, theirs, None),
    ]


def _finished(said: Measured) -> list[dict[str, Any]]:
    """The trials that a study could choose from."""
    return [trial for trial in said["trials"] if trial.get("state", "complete") == "complete"]


def _given(task: Task, said: Measured) -> list[dict[str, float]]:
    """What a study tried, for somebody else to try."""
    return [
        {name: trial[name] or task.learning_rate for name in ("head_lr", "body_lr")}
        | {"depth": trial["depth"]}
        for trial in said["trials"]
    ]


def _limit(task: Task, size: int, rate: float, said: Measured) -> float:
    """Seconds that a study's operations take at the machine's highest rate: what is frozen in any of its
    trials once, the rest in every epoch, forward alone for the fifth of the pictures that validates."""
    depths = [trial["depth"] for trial in said["trials"]]
    of = {depth: sides(replace(task, depth=depth), size) for depth in set(depths)}
    steps = sum(task.epochs * (0.8 * of[depth][1].step + 0.2 * of[depth][1].forward) for depth in depths)
    return len(task.array("images")) * (of[max(depths)][0] + steps) / rate


def ran(study: Study, name: str) -> Measured:
    if not study.given:
        study.begin()
    # trials share the cores; the tutorial has them for itself
    threads = study.task["threads"] if study.given else 1
    return process(name, study.save(), threads)()


def _close(said: Measured, peer: Measured) -> float:
    """Seconds until a finished trial was within a point of the best of the peer's; for ever if none was."""
    # the tutorial's accuracies are of 32 bits
    aim = max(trial["value"] for trial in peer["trials"]) - 0.01 - 1e-6
    finished = [trial["finished"] for trial in _finished(said) if trial["value"] >= aim]
    return said.get("before", 0.0) + min(finished, default=math.inf)
