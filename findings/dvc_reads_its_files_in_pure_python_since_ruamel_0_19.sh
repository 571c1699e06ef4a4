#!/usr/bin/env bash
# A fresh installation of DVC reads dvc.lock, dvc.yaml and params.yaml several times slower than one of 2025, and nothing says so.
#
# Seen with dvc 3.67.1 and ruamel.yaml 0.19.1, Python 3.11, Linux. Until 0.18, ruamel.yaml required ruamel.yaml.clib on CPython; 0.19.1 requires
# no C parser any more (the extras `oldlibyaml` and `libyaml` bring one). DVC asks for ruamel.yaml alone and loads with `YAML(typ="safe")`,
# which takes the C parser where there is one and else parses in Python. A lock of 60 stages, 1,500 lines: 0.25 s, and 0.05 s once
# ruamel.yaml.clib is installed. Each `dvc status` of a pipeline reads the lock once and params.yaml once for each stage that has parameters.
# What DVC writes back to the lock after each stage (`typ="rt"`) is parsed in Python either way.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q dvc==3.67.1 ruamel.yaml==0.19.1
cat >"$folder/read.py" <<'PY'
import sys
import time

import ruamel.yaml
from dvc.utils.serialize import dump_yaml, load_yaml

path = sys.argv[1]
stages = {
    f"stage{index}": {
        "cmd": f"python stage.py {index}",
        "deps": [{"path": f"data/{index}.csv", "hash": "md5", "md5": f"{index:032x}", "size": 1234}] * 2,
        "params": {"params.yaml": {f"section.value{number}": number / 7 for number in range(10)}},
        "outs": [{"path": f"out/{index}", "hash": "md5", "md5": f"{index:032x}", "size": 1234}],
    }
    for index in range(60)
}
dump_yaml(path, {"schema": "2.0", "stages": stages})
times = []
for _ in range(5):
    started = time.perf_counter()
    assert len(load_yaml(path)["stages"]) == 60
    times.append(time.perf_counter() - started)
with open(path) as file:
    lines = len(file.readlines())
print(f"C parser {bool(ruamel.yaml.__with_libyaml__)}, {lines} lines: {min(times):.3f} s", file=sys.stderr)
print(min(times))
PY
without=$("$folder/venv/bin/python" "$folder/read.py" "$folder/dvc.lock")
"$folder/venv/bin/pip" install -q ruamel.yaml.clib==0.2.15
with=$("$folder/venv/bin/python" "$folder/read.py" "$folder/dvc.lock")
"$folder/venv/bin/python" -c "assert $without > 2 * $with"
