"""A run to look at, and processes that record."""

import subprocess
import sys

from thawline import tracking

TAGS = {"seed": 0, "data_fingerprint": "1f2e"}


def a_run(name="a", **changes):
    return tracking.run(name, **{"stage": "finetune", "parameters": {}, "tags": TAGS} | changes)


def in_process(code, root, **options):
    command = [sys.executable, "-W", "error", "-c", code, str(root)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


CONNECT = """
import sys
from pathlib import Path
from thawline import tracking
print(tracking.connect("sqlite:///mlflow.db", "together", Path(sys.argv[1])), flush=True)
"""
