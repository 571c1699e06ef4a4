#!/usr/bin/env bash
# A sqlite database whose tables MLflow was making when its process was killed is refused by every later start.
#
# Seen with mlflow 3.17.2, sqlalchemy 2.0.58, Python 3.11, Linux. The first MlflowClient of an address goes through some
# fifty migrations, each of which is committed by itself. Where its process is killed (SIGKILL, the out-of-memory killer, a
# power cut) while tables that MLflow looks for are missing, the next client begins again. Where it is killed later, with a
# few migrations left, the next client takes the file, to which nobody has written yet, for one of an older MLflow, and
# raises "Detected out-of-date database schema", again and again. `mlflow db upgrade`, which the message advises, may fail as
# well: it was seen to end with "table scheduler_leases already exists", because sqlite had kept the table of a migration
# that was not entered yet.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q mlflow==3.17.2 sqlalchemy==2.0.58
cat >"$folder/make.py" <<'PY'
import logging
import sys

logging.disable(logging.INFO)
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

try:
    print("experiments:", len(MlflowClient(f"sqlite:///{sys.argv[1]}").search_experiments()))
except MlflowException as error:
    print("refused:", str(error).partition(" (found")[0])
PY
cat >"$folder/kill.py" <<'PY'
import sqlite3
import subprocess
import sys
import time

place, database = sys.argv[1:]
making = subprocess.Popen([sys.executable, f"{place}/make.py", database], stderr=subprocess.DEVNULL)
while True:
    try:
        with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as looking:
            if ("75868b020152",) in looking.execute("select version_num from alembic_version"):
                break
    except sqlite3.OperationalError:  # not there yet, or being written to
        assert making.poll() is None
    time.sleep(0.001)
making.kill()
making.wait()
print("killed after the migration 75868b020152")
PY
python="$folder/venv/bin/python"
"$python" "$folder/kill.py" "$folder" "$folder/runs.db"
said=$(for _ in 1 2; do "$python" "$folder/make.py" "$folder/runs.db" 2>/dev/null; done)
echo "$said"
test "$said" = "$(printf 'refused: Detected out-of-date database schema\n%.0s' 1 2)"
if "$folder/venv/bin/mlflow" db upgrade "sqlite:///$folder/runs.db" >"$folder/upgrade.log" 2>&1; then
    echo "mlflow db upgrade went on"
else
    echo "mlflow db upgrade failed: $(grep -om1 'table [a-z_]* already exists' "$folder/upgrade.log")"
fi
