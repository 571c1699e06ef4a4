#!/usr/bin/env bash
# An MlflowClient that was given its store looks for the model it registers in another one, and makes that.
#
# Seen with mlflow 3.17.2, Python 3.11, Linux. `MlflowClient("sqlite:///a/store.db")` logs a model there; its
# `create_model_version(name, "models:/m-...")` then asks the store of the process's global settings for it, which is
# not the client's. Without such settings that is sqlite:///mlflow.db in the current folder, which is made anew: a
# megabyte of tables appears where nobody asked for a database, and the answer is INTERNAL_ERROR. The same call
# succeeds with MLFLOW_TRACKING_URI set to the address that the client has already.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q mlflow==3.17.2
mkdir "$folder/a" "$folder/here"
cat >"$folder/register.py" <<'PY'
import logging
import os
import sys
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import LoggedModelStatus
from mlflow.exceptions import MlflowException

logging.disable(logging.INFO)
store = f"sqlite:///{sys.argv[1]}/store.db"
client = MlflowClient(store)
experiment = client.create_experiment("e", Path(sys.argv[1], "artifacts").as_uri())
model = client.create_logged_model(experiment, "model")
client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)
assert client.get_logged_model(model.model_id).model_id == model.model_id
client.create_registered_model("r")
try:
    client.create_model_version("r", f"models:/{model.model_id}")
    print("registered: not seen here")
except MlflowException as error:
    print(f"refused: {error.error_code}")
print("in the current folder:", sorted(path.name for path in Path.cwd().iterdir()))
os.environ["MLFLOW_TRACKING_URI"] = store
print("with the same address once more: version", client.create_model_version("r", f"models:/{model.model_id}").version)
PY
cd "$folder/here"
env -u MLFLOW_TRACKING_URI "$folder/venv/bin/python" "$folder/register.py" "$folder/a"
