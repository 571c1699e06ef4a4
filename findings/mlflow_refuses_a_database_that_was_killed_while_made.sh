#!/usr/bin/env bash
# MLflow refuses for good a new sqlite database in which it was killed between a migration's change and its entry.
#
# Seen with mlflow 3.17.2, sqlalchemy 2.0.58, Python 3.11, Linux. The first client of an address makes its tables in some
# seventy migrations, which takes seconds. sqlite keeps each change of a table at once, and the migration is entered as done
# after its changes, so a process that is killed between the two (out of memory, a power cut) leaves a change that is not
# entered. The next client, and every one after it, begins that migration again and ends with "duplicate column name" or
# "table ... already exists", of a file to which nobody has written yet; so does `mlflow db upgrade`. Whoever starts MLflow
# in a job that may be killed makes the file under another name and renames it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q mlflow==3.17.2 sqlalchemy==2.0.58
cat >"$folder/use.py" <<'PY'
import logging
import os
import re
import signal
import sys

from mlflow import MlflowClient
from sqlalchemy import Engine, event

logging.disable(logging.CRITICAL)
database, *last = sys.argv[1:]


@event.listens_for(Engine, "after_cursor_execute")
def kill(connection, cursor, statement, *_):
    if last and last[0] in statement and statement.strip().startswith(("ALTER TABLE", "CREATE TABLE")):
        os.kill(os.getpid(), signal.SIGKILL)


try:
    print("experiments:", len(MlflowClient(f"sqlite:///{database}").search_experiments()))
except Exception as error:
    found = re.search(r"duplicate column name: \w+|table \w+ already exists", str(error))
    print("refused:", found[0] if found else error)
PY
python="$folder/venv/bin/python"
for change in routing_strategy scheduler_leases; do
    status=0
    ("$python" "$folder/use.py" "$folder/$change.db" $change >/dev/null 2>&1) 2>/dev/null || status=$?
    echo "killed after the change of $change: status $status"
    for _ in 1 2; do "$python" "$folder/use.py" "$folder/$change.db" 2>/dev/null; done
done | tee "$folder/seen"
"$folder/venv/bin/mlflow" db upgrade "sqlite:///$folder/scheduler_leases.db" 2>&1 |
    grep -om1 'table scheduler_leases already exists' | tee -a "$folder/seen"
diff "$folder/seen" - <<'SEEN'
killed after the change of routing_strategy: status 137
refused: duplicate column name: routing_strategy
refused: duplicate column name: routing_strategy
killed after the change of scheduler_leases: status 137
refused: table scheduler_leases already exists
refused: table scheduler_leases already exists
table scheduler_leases already exists
SEEN
