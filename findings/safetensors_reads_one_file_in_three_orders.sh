#!/usr/bin/env bash
# One .safetensors file, read in three ways, gives its tensors in three orders, and one of them is another at every call.
#
# Seen with safetensors 0.8.0 and numpy 2.4.6, Python 3.11, Linux. Whoever matches tensors by their position (weights of the same
# architecture under other names) gets them in the order in which they were written from none of the three:
#   save_file writes by size of the type (int64 before float32 before float16), and by name within a type;
#   load_file and safe_open(...).offset_keys() give that order;
#   safe_open(...).keys() gives the names sorted;
#   load(bytes) gives another order at each call, in one process too, and with PYTHONHASHSEED set.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q safetensors==0.8.0 numpy==2.4.6
cat >"$folder/orders.py" <<'PY'
import sys

import numpy as np
from safetensors import safe_open
from safetensors.numpy import load, load_file, save_file

written = {"stem.weight": np.float32, "stem.count": np.int64, "block.weight": np.float32, "half": np.float16, "a.count": np.int64}
written |= {f"more.{index}": np.float32 for index in range(8)}
path = sys.argv[1]
save_file({name: np.zeros(2, kind) for name, kind in written.items()}, path)

by_file = list(load_file(path))
with safe_open(path, "np") as file:
    by_name, by_offset = list(file.keys()), list(file.offset_keys())
with open(path, "rb") as file:
    content = file.read()
by_bytes = {tuple(load(content)) for _ in range(20)}

size = {name: np.dtype(kind).itemsize for name, kind in written.items()}
print("written      ", *list(written)[:5])
print("load_file    ", *by_file[:5])
print("keys()       ", *by_name[:5])
print("load(bytes):  20 calls,", len(by_bytes), "orders")
assert by_file == by_offset == sorted(written, key=lambda name: (-size[name], name))
assert by_name == sorted(written)
assert len(by_bytes) > 1
PY
PYTHONHASHSEED=0 "$folder/venv/bin/python" "$folder/orders.py" "$folder/weights.safetensors"
