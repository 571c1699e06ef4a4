"""A model in MLflow: logged to a run and registered, so that MLflow's own tools load and serve it."""

import logging
import os
import socket
import subprocess
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from thawline.config.errors import UserError
from thawline.config.overrides import shell_line
from thawline.tracking.connection import LostError, ask, connected, look, resolve_uri
from thawline.tracking.runs import Run
from thawline.tracking.unsent import is_key

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

log = logging.getLogger(__name__)

DEFAULT_STORE = "MLFLOW_TRACKING_URI"
FINGERPRINT = "fingerprint"
"""Tag of a registered model's version that tells it from others."""
LOGGED = "models:/"
"""What the source of a version begins with, before the logged model's id."""


@dataclass(frozen=True)
class Loadable:
    """A model that answers texts: the folder that holds it, what tells it from others, the module with
    `_load_pyfunc` that loads it, the packages which that imports, an example of a text and of what is
    answered, and its labels."""

    folder: Path
    fingerprint: str
    loader: str
    packages: Sequence[str]
    example: str
    answer: dict[str, object]
    labels: Sequence[str]


def register(run: Run, name: str, model: Loadable) -> str | None:
    """Log `model` with the code of this package to `run` and make it the next version of the registered model
    `name`, unless the newest one is this model; return its version. None where MLflow is not there (any
    more): then it has to be done again."""
    if not is_key(run.id):
        try:
            return ask(lambda client: _registered(client, run.id, name, model))
        except LostError:
            pass
    log.warning(
        "the model is not registered, because MLflow does not answer; when it does: dvc repro -f -s export"
    )
    return None


def _registered(client: "MlflowClient", run_id: str, name: str, model: Loadable) -> str:
    from mlflow.entities import LoggedModelOutput, LoggedModelStatus
    from mlflow.exceptions import MlflowException

    newest = _newest(client, name)
    same = newest is not None and newest.tags.get(FINGERPRINT) == model.fingerprint
    if newest is not None and same and _is_there(client, newest):
        return str(newest.version)
    logged = client.create_logged_model(connected().experiment_id, "model", source_run_id=run_id)
    with TemporaryDirectory() as folder:
        _save(Path(folder, "model"), logged, run_id, model)
        client.log_model_artifacts(logged.model_id, str(Path(folder, "model")))
    client.finalize_logged_model(logged.model_id, LoggedModelStatus.READY)
    client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, step=0)])
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    with _as_default(connected().store):
        tags = {FINGERPRINT: model.fingerprint}
        made = client.create_model_version(name, f"{LOGGED}{logged.model_id}", run_id, tags)
    return str(made.version)


def _newest(client: "MlflowClient", name: str) -> "ModelVersion | None":
    """Return the newest version of the registered model `name`, None where there is none."""
    from mlflow.exceptions import MlflowException

    try:
        return client.get_model_version_by_alias(name, "latest")
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None


def _is_there(client: "MlflowClient", version: "ModelVersion") -> bool:
    """Return whether the files of a version are where MLflow would load them from: somebody may have made
    room."""
    from mlflow.exceptions import MlflowException

    try:
        return bool(client.list_logged_model_artifacts(str(version.source).removeprefix(LOGGED)))
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return False


@contextmanager
def _as_default(store: str) -> Iterator[None]:
    """Let MLflow look for a model in `store`: it does not ask the client's, but that of the process."""
    before = os.environ.get(DEFAULT_STORE)
    os.environ[DEFAULT_STORE] = store
    try:
        yield
    finally:
        os.environ.pop(DEFAULT_STORE)
        if before is not None:
            os.environ[DEFAULT_STORE] = before


def _save(path: Path, logged: Any, run_id: str, model: Loadable) -> None:
    """Write the folder that MLflow loads, with everything named that it would search for itself, which takes
    it ten seconds."""
    with warnings.catch_warnings(action="ignore"):  # of MLflow, about its own code
        import mlflow.pyfunc
        from mlflow.models import Model, ModelSignature, infer_signature
        from mlflow.types import ColSpec, Schema

    answers = infer_signature([model.answer], [model.answer]).outputs
    mlflow.pyfunc.save_model(
        str(path),
        mlflow_model=Model(
            artifact_path=logged.artifact_location,
            run_id=run_id,
            model_uuid=logged.model_id,
            model_id=logged.model_id,
            metadata={"labels": list(model.labels)},
        ),
        loader_module=model.loader,
        data_path=str(model.folder),
        code_paths=[str(Path(__file__).parents[1])],
        signature=ModelSignature(inputs=Schema([ColSpec("string")]), outputs=answers),
        input_example=[model.example],
        pip_requirements=[f"{name}=={_release(name)}" for name in (*model.packages, "mlflow")],
    )


def _release(name: str) -> str:
    """Return the version that is installed, without where it was built: an index has no `2.11.0+cu128`."""
    return version(name).partition("+")[0]


def serve(uri: str, root: Path, name: str, host: str, port: int, maker: str) -> int:
    """Run MLflow's server on the newest version of the registered model `name`, in the store at `uri` (a
    relative path is taken from `root`), until it is ended; return its exit status.

    maker: the command that registers a model. Raises `UserError` where nothing is registered, the store
    cannot be used, or nobody can listen at `host` and `port`.
    """
    _require_free(host, port)
    if look(uri, root, lambda client: _newest(client, name)) is None:
        raise UserError(f"no model is registered as {name}.\n  register it: {maker}")
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", f"models:/{name}/latest"]
    command += ["--env-manager", "local", "--host", host, "--port", str(port)]
    environment = {**os.environ, DEFAULT_STORE: resolve_uri(uri, root)}
    # until the server has ended, which Ctrl-C tells it as well
    with subprocess.Popen(command, env=environment) as server:
        while True:
            try:
                return server.wait()
            except KeyboardInterrupt:
                continue


def _require_free(host: str, port: int) -> None:
    """Raise `UserError`, with what can be listened at, unless `host` and `port` can be."""
    try:
        _listen(host, port)
    except OSError as error:
        command = ["thawline", "serve"]
        try:
            command += ["--host", host, "--port", str(_listen(host, 0))]
        except OSError:  # it is the host that is wrong
            command += ["--port", str(_listen("127.0.0.1", 0))]
        raise UserError(
            f"nobody can listen at {host} port {port}: {error.strerror}.\n  try: {shell_line(command)}"
        ) from None


def _listen(host: str, port: int) -> int:
    """Listen at `host` and `port` for a moment and return the port: 0 is any that is free."""
    family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind) as listening:
        # as servers do: a port that was left a moment ago is free
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        found: int = listening.getsockname()[1]
        return found
