#!/usr/bin/env bash
# A write of dvc.lock that fails half way costs the lock, and with it every later `dvc repro`.
#
# Seen with dvc 3.67.1, Python 3.11, Linux: dvc.lock is written anew in its place after every stage, not beside it
# and then renamed. Where the disk is full (here: where a file may not become longer, which is met in the same way)
# the old lock is gone and the new one ends in the middle. `dvc repro` fails, as it must. With room again it fails
# at once, because it cannot read the lock, although all outputs are there; `git checkout dvc.lock` or removing
# the file helps. Here: 524,288 bytes of a longer lock are left, and the second run, without a limit, ends with 255.
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
python - <<'PY'
# long commands make the lock longer than any other file that DVC writes here
stages = [f"  stage{n}:\n    cmd: 'echo {n} > out{n} # {'x' * 10000}'\n    outs:\n      - out{n}:\n          cache: false\n"
          for n in range(60)]
with open("dvc.yaml", "w") as file:
    file.write("stages:\n" + "".join(stages))
PY
first=0
(ulimit -f 512; dvc repro -q) >"$folder/first" 2>&1 || first=$?
left=$(stat -c %s dvc.lock)
second=0
dvc repro >"$folder/second" 2>&1 || second=$?
ran=$(grep -c "^Running stage" "$folder/second" || true)
echo "limited: ends with $first, $left bytes of dvc.lock are left"
echo "not limited: ends with $second, $ran stages ran"
rm dvc.lock
third=0
dvc repro -q >"$folder/third" 2>&1 || third=$?
echo "without the lock: ends with $third"
[ "$first" -ne 0 ] && [ "$left" -eq 524288 ] && [ "$second" -ne 0 ] && [ "$ran" -eq 0 ] && [ "$third" -eq 0 ]
