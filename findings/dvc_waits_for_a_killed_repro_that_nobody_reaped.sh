#!/usr/bin/env bash
# A `dvc repro` that was killed blocks the next one for as long as its parent has not waited for it.
#
# Seen with dvc 3.67.1, psutil 7, Python 3.11, Linux: .dvc/tmp/rwlock names the process that works on a stage, and
# the next DVC drops that note only where `psutil.pid_exists` denies it. A killed process is listed (as a zombie)
# until its parent, or process 1 where the parent is dead, has waited for it. Who starts DVC from a program, kills
# it and starts it again is refused, though nobody is at work. Waiting for the killed process helps. Here: the
# second run, before that, ends with 255 and says "busy"; the third, after it, with 0.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q dvc==3.67.1
export PATH="$folder/venv/bin:$PATH" HOME="$folder" DVC_NO_ANALYTICS=1
mkdir "$folder/project"
cd "$folder/project"
git init -q
dvc init -q
cat >dvc.yaml <<'YAML'
stages:
  slow:
    cmd: test -e again || sleep 60; echo done > out
    outs:
      - out:
          cache: false
YAML
python - <<'PY'
import os, signal, subprocess, time
from pathlib import Path

def run():
    done = subprocess.run(["dvc", "repro"], capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr

first = subprocess.Popen(["dvc", "repro", "-q"], start_new_session=True)
note = Path(".dvc/tmp/rwlock")
while not (note.exists() and str(first.pid) in note.read_text()):
    time.sleep(0.1)
time.sleep(1)
os.killpg(first.pid, signal.SIGKILL)
Path("again").touch()
time.sleep(1)
unreaped, said = run()
first.wait()
reaped, _ = run()
print(f"not waited for: ends with {unreaped}:\n{said}")
print(f"waited for: ends with {reaped}")
raise SystemExit(not (unreaped != 0 and "busy" in said and reaped == 0))
PY
