#!/usr/bin/env bash
# A killed `dvc exp run` leaves the repository off its branch, and the next one that succeeds does not put it back.
#
# Seen with dvc 3.67.1, scmrepo 3.6.2, Python 3.11, Linux: in the workspace, too, an experiment runs on a detached
# HEAD, which DVC puts back on the branch when it ends. After SIGKILL HEAD stays detached. The next `dvc exp run`
# takes that for where it began, says that all went well, and leaves HEAD detached as well, so a commit after it
# is on no branch. `git switch BRANCH` before the next commit helps. Here: HEAD is on `mine` before, detached
# after the kill, and still detached after a run that ends with 0.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q dvc==3.67.1 scmrepo==3.6.2
export PATH="$folder/venv/bin:$PATH" HOME="$folder" DVC_NO_ANALYTICS=1
mkdir "$folder/project"
cd "$folder/project"
git init -q -b mine
git config user.name A
git config user.email a@b
dvc init -q
echo 'p: 1' >params.yaml
cat >dvc.yaml <<'YAML'
stages:
  slow:
    cmd: touch began; test -e again || sleep 60; echo done > out
    params: [p]
    outs:
      - out:
          cache: false
YAML
printf 'began\nagain\nout\n' >.gitignore
git add -A
git commit -qm begin
python - <<'PY'
import os, signal, subprocess, time
from pathlib import Path

def branch():
    return subprocess.run(["git", "symbolic-ref", "-q", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()

seen = [branch()]
first = subprocess.Popen(["dvc", "exp", "run", "-q", "-S", "p=2"], start_new_session=True)
while not Path("began").exists():
    time.sleep(0.1)
os.killpg(first.pid, signal.SIGKILL)
first.wait()
seen.append(branch())
Path("again").touch()
status = subprocess.run(["dvc", "exp", "run", "-q", "-S", "p=3"]).returncode
seen.append(branch())
print(f"branch before, after the kill, after the next run (which ended with {status}): {seen}")
raise SystemExit(not (status == 0 and seen == ["mine", "", ""]))
PY
