"""Where the artifacts of a database's runs lie: below the checkout that uses it, wherever that was before.

MLflow keeps absolute addresses: of the experiment, from which each new run takes its own, and of every run. A
checkout that was moved or copied with its database would go on writing to the old folder. Nothing in MLflow
changes such an address, so that it is done in its tables.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from thawline.tracking import view

if TYPE_CHECKING:
    from mlflow.entities import Experiment, RunInfo
    from sqlalchemy import Connection

FOLDER = "mlartifacts"

_MOVE = "UPDATE experiments SET artifact_location = :address WHERE experiment_id = :number"
_RUNS = "SELECT run_uuid, artifact_uri FROM runs WHERE experiment_id = :number"
_MODELS = "SELECT model_id, artifact_location FROM logged_models WHERE experiment_id = :number"
_PLACE_MODEL = "UPDATE logged_models SET artifact_location = :address WHERE model_id = :id"
_PLACE_VERSION = "UPDATE model_versions SET storage_location = :address WHERE source = :source"
_PLACE = "UPDATE runs SET artifact_uri = :address WHERE run_uuid = :id"


def location(home: Path) -> str:
    """Return the address below which the artifacts of the checkout `home` lie."""
    return (home / FOLDER).as_uri()


def settle(store: str, experiment: "Experiment", home: Path) -> Path | None:
    """Let the artifacts of `experiment`, and of those of its runs and models whose artifacts were brought
    along, lie below `home`; return the folder in which they lay before, None where that is the same one.

    An experiment whose place somebody else chose stays there. `store` is the address of a database.
    """
    from sqlalchemy import text

    here, before = location(home), experiment.artifact_location
    ours = view.experiment_tags().keys() <= experiment.tags.keys()
    if before == here or not ours or urlsplit(before).scheme != "file":
        return None
    number = int(experiment.experiment_id)
    with _tables(store) as tables:
        tables.execute(text(_MOVE), {"address": here, "number": number})
        for id, address in tables.execute(text(_RUNS), {"number": number}).all():
            if not address.startswith(f"{here}/") and (home / FOLDER / id).is_dir():
                tables.execute(text(_PLACE), {"address": _of_run(here, id), "id": id})
        for id, address in tables.execute(text(_MODELS), {"number": number}).all():
            if not address.startswith(f"{here}/") and (home / FOLDER / "models" / id).is_dir():
                address = f"{here}/models/{id}/artifacts"
                tables.execute(text(_PLACE_MODEL), {"address": address, "id": id})
                tables.execute(text(_PLACE_VERSION), {"address": address, "source": f"models:/{id}"})
    return Path(unquote(urlsplit(before).path))


def settle_run(store: str, run: "RunInfo", home: Path) -> None:
    """Let the artifacts of a new run lie below `home`: another checkout that uses the same database may have
    connected since this one did."""
    from sqlalchemy import text

    here = location(home)
    if urlsplit(run.artifact_uri).scheme == "file" and not run.artifact_uri.startswith(f"{here}/"):
        with _tables(store) as tables:
            tables.execute(text(_PLACE), {"address": _of_run(here, run.run_id), "id": run.run_id})


def _of_run(here: str, id: str) -> str:
    return f"{here}/{id}/artifacts"


@contextmanager
def _tables(store: str) -> Iterator["Connection"]:
    from sqlalchemy import create_engine

    engine = create_engine(store)
    try:
        with engine.begin() as tables:
            yield tables
    finally:
        engine.dispose()
