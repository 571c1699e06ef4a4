"""Run a study: in this process, in processes beside it, or on a Ray cluster; all by the same loop."""

from contextlib import nullcontext
from dataclasses import replace
from urllib.parse import quote

from thawline import tracking
from thawline.artifacts import Artifacts, exclusive
from thawline.config.choices import Engine
from thawline.config.sections import Config
from thawline.machine import cores
from thawline.search.study.configuration import remember
from thawline.search.study.database import explained, is_shared, location
from thawline.search.study.engine import Make, Work, run_trials
from thawline.search.study.local_processes import LocalProcesses
from thawline.search.study.progress import shown
from thawline.search.study.study import RUN, SharedStudy, counted, open_study
from thawline.search.task import Task


def run_study(
    make: Make,
    config: Config,
    artifacts: Artifacts,
    parent: str,
    label: str,
    task: Task | None = None,
) -> SharedStudy:
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
    work = Work(make, shared_out(config), artifacts, parent, task.name)
    with (
        # on a server, many machines may run the same study
        nullcontext() if is_shared(url) else exclusive(beside),
        explained(url),
        shown(study, task, label) as update,
    ):
        if config.search.engine is Engine.ray:
            from thawline.search.study.ray_tasks import run_on_ray

            run_on_ray(work, study, update)
        elif config.search.workers == 1:
            run_trials(task, study, parent, update)
        else:
            LocalProcesses(work, study, update).run()
        update()
    if parent:
        runs = {str(trial.user_attrs.get(RUN)) for trial in counted(study)}
        tracking.supersede_all_but(runs, task.name)
    return study


def shared_out(config: Config) -> Config:
    """Return the configuration of each worker: with its share of the cores, unless `trainer.threads` is
    given."""
    threads = config.trainer.threads or max(1, cores() // config.search.workers)
    return replace(config, trainer=replace(config.trainer, threads=threads))
