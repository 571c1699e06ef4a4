"""Workers placed by Ray, on one machine or on many.

The machines must see this project's folder under the same path (a shared file system), with the artifacts
and the environment in it, and reach the databases of `search.storage` and `tracking.uri`.
"""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from thawline.config.errors import UserError, first_line
from thawline.search.study.database import is_shared
from thawline.search.study.engine import POLL_SECONDS, Work
from thawline.search.study.study import SharedStudy

STOP_SECONDS = 20.0
QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled"}


def run_on_ray(work: Work, study: SharedStudy, update: Callable[[], None]) -> None:
    """Run the study with `search.workers` Ray tasks, on the cluster at `search.address`.

    Ray starts a task again wherever there is room when its machine or process dies, and the new one goes on
    with what the study still lacks. Raises `UserError` where Ray is not installed, the cluster does not
    answer, the database is a file that not all its machines have, or a worker raised one.
    """
    ray = _ray()
    with _cluster(ray, work):
        _refuse_file(ray, study)
        _watch(ray, _tasks(ray, work), update)


def _ray() -> ModuleType:
    # read when Ray is imported
    os.environ.update({name: os.environ.get(name, value) for name, value in QUIET.items()})
    try:
        import ray
    except ImportError:
        raise UserError(
            "search.engine = ray, but Ray is not installed.\n"
            "  install it: pip install 'thawline[ray]'; or run on this machine alone: search.engine=local"
        ) from None
    return ray


@contextmanager
def _cluster(ray: ModuleType, work: Work) -> Iterator[None]:
    """Stay connected to the cluster; to one of this machine alone where no address is given."""
    search = work.config.search
    address = search.address or os.environ.get("RAY_ADDRESS")
    # each process of a worker finds the modules that this one does
    environment = {"env_vars": {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), **_threads(work)}}
    started: dict[str, Any] = {} if address else {"include_dashboard": False}
    if not address:
        started["num_cpus"] = search.workers * work.config.trainer.threads
    try:
        ray.init(
            address=address, runtime_env=environment, log_to_driver=False, logging_level="error", **started
        )
    except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
        raise UserError(
            f"The Ray cluster at {address or 'this machine'} does not answer: {first_line(error)}\n"
            "  start it (ray start --head), correct search.address, or run on this machine alone: "
            "search.engine=local"
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


def _threads(work: Work) -> dict[str, str]:
    return {"OMP_NUM_THREADS": str(work.config.trainer.threads), **QUIET}


def _refuse_file(ray: ModuleType, study: SharedStudy) -> None:
    """Refuse a sqlite file for several machines: locks on it do not hold across a network."""
    names = sorted({node["NodeManagerHostname"] for node in ray.nodes() if node["Alive"]})
    if len(names) > 1 and not is_shared(study.database.engine.url):
        raise UserError(
            f"The Ray cluster has several machines ({', '.join(names[:4])}), "
            "but the studies are in a file that only this one can use.\n"
            "  keep them on a server: search.storage=postgresql+psycopg2://user:password@host:5432/name"
        )


def _tasks(ray: ModuleType, work: Work) -> list[Any]:
    worker = ray.remote(_worker).options(
        num_cpus=work.config.trainer.threads, max_retries=-1, scheduling_strategy="SPREAD"
    )
    return [worker.remote(work) for _ in range(work.config.search.workers)]


def _worker(work: Work) -> str | None:
    """Do the work in a Ray task. Return what a person can put right: Ray would wrap it if raised."""
    try:
        work.do()
    except UserError as error:
        return str(error)
    return None


def _watch(ray: ModuleType, tasks: list[Any], update: Callable[[], None]) -> None:
    """Wait for one worker to end: that it found nothing to do holds for the others too, and one that waits
    for a free processor would only find out later."""
    try:
        over: list[Any] = []
        while not over:
            over, _ = ray.wait(tasks, timeout=POLL_SECONDS)
            update()
        for said in ray.get(over):
            if said is not None:
                raise UserError(said)
    finally:
        for task in tasks:
            # the worker is interrupted as by Ctrl-C, and gives its trial back
            ray.cancel(task)
        ray.wait(tasks, num_returns=len(tasks), timeout=STOP_SECONDS)
