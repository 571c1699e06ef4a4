"""Recording runs in MLflow: the only importer of mlflow, and only once something is recorded.

A process calls `connect` once and then opens runs with `run`. Histories are written after training,
in one request, so that training never waits for the store.
"""

from thawline.tracking.connection import connect, send_what_waits
from thawline.tracking.models import Loadable, register, serve
from thawline.tracking.runs import (
    REQUIRED_TAGS,
    STATES,
    Data,
    Run,
    reconcile,
    run,
    supersede,
    supersede_all_but,
)

__all__ = [
    "REQUIRED_TAGS",
    "STATES",
    "Data",
    "Loadable",
    "Run",
    "connect",
    "reconcile",
    "register",
    "run",
    "send_what_waits",
    "serve",
    "supersede",
    "supersede_all_but",
]
