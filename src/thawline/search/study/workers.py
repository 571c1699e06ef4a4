"""Who runs the trials: this process, processes beside it, or a Ray cluster; all by the same loop."""

import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from urllib.parse import quote

import optuna

from thawline import tracking
from thawline.artifacts import Artifacts, exclusive
from thawline.config.choices import Engine
from thawline.config.sections import Config
from thawline.machine import cores
from thawline.search.study.ask_and_tell import claim, give_back, may_come_back, settle, signs_of_life
from thawline.search.study.configuration import remember
from thawline.search.study.database import explained, is_shared, location
from thawline.search.study.local_processes import Crew
from thawline.search.study.progress import board
from thawline.search.study.study import RUN, counted, open_study
from thawline.search.task import Task
from thawline.tracking.origin import this_process

Make = Callable[[Config, Artifacts], Task]
"""Importable by name: every worker makes its own task with it."""

POLL_SECONDS = 0.5


def run_study(
    make: Make,
    config: Config,
    artifacts: Artifacts,
    parent: str,
    label: str,
    task: Task | None = None,
) -> optuna.Study:
    """Run the trials that the study still lacks, with `search.workers` workers; return the study.

    Args:
        make: makes the task from configuration and artifacts; in a worker `trainer.threads` is its share.
        parent: id of the study's run in MLflow, to which this process is connected; "" records nothing.
        label: what the progress display calls it.
        task: what `make` made for this process before, where it did.

    Trials are complete, pruned or failed once each, whatever happens to workers or to this process; an
    interruption (Ctrl-C) goes on to the caller when all workers have given their trials back. Raises
    `UserError` where the study cannot be gone on with, or a worker's own.
    """
    task = task or make(config, artifacts)
    study = open_study(task, artifacts.studies)
    study.set_user_attr(RUN, parent)
    remember(study, config, artifacts)
    url = location(config.search, artifacts.studies)
    beside = artifacts.studies.with_name(f"{quote(task.name, safe='')}.driver.lock")
    team = Team(make, shared_out(config), artifacts, parent, task.name)
    with (
        # on a server, many machines may run the same study
        nullcontext() if is_shared(url) else exclusive(beside),
        explained(url),
        board(study, task, label) as update,
    ):
        if config.search.engine is Engine.ray:
            from thawline.search.study.ray_tasks import run_on_ray

            run_on_ray(team, study, update)
        elif config.search.workers == 1:
            work(task, study, parent, update)
        else:
            Crew(team, study, update).run()
        update()
    if parent:
        kept = {str(trial.user_attrs.get(RUN)) for trial in counted(study)}
        tracking.supersede_all_but(kept, task.name)
    return study


def shared_out(config: Config) -> Config:
    """The configuration of each worker: with its share of the cores, unless `trainer.threads` is given."""
    threads = config.trainer.threads or max(1, cores() // config.search.workers)
    return replace(config, trainer=replace(config.trainer, threads=threads))


@dataclass(frozen=True)
class Team:
    """What every worker of a study is told."""

    make: Make
    config: Config
    artifacts: Artifacts
    parent: str
    study: str

    def join(self) -> None:
        """Be one of the workers until there is nothing left to do."""
        if self.parent:
            tracking.connect(self.config.tracking.uri, self.config.tracking.experiment, self.artifacts.root)
        task = self.make(self.config, self.artifacts)
        if task.name != self.study:
            raise RuntimeError(f"a worker's study is {task.name}, its parent's {self.study}: see Task.name")
        study = open_study(task, self.artifacts.studies)
        with explained(location(self.config.search, self.artifacts.studies)):
            work(task, study, self.parent)


def work(task: Task, study: optuna.Study, parent: str, after: Callable[[], None] = lambda: None) -> None:
    """Claim and settle trials until every place is settled; call `after` after each.

    Waits for the trials of other workers, so that the last ones to die are made up for too.
    """
    try:
        while True:
            trial = claim(study, task)
            if trial is not None:
                with signs_of_life(study, trial, task.search.heartbeat):
                    settle(study, task, trial, parent)
            elif may_come_back(study, task):
                time.sleep(POLL_SECONDS)
            else:
                return
            after()
    except BaseException:
        give_back(study, {this_process()})
        raise
