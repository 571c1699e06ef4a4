#!/usr/bin/env bash
# fsspec's transaction on local files replaces nothing at once where the temporary folder is another file system.
#
# Seen with fsspec 2026.9.0, Python 3.11, Linux. A transaction writes to a file in the folder for temporary files, not
# beside the target, and commits with shutil.move. Where /tmp is another file system than the target's (a tmpfs, a
# container's own disk), the rename is refused and the move is a copy into the target itself: the old content is cut to
# nothing first, so that whoever is killed meanwhile, or finds the disk full, has neither the old file nor the new one.
# Lightning 2.6.6 writes its checkpoints so (`_atomic_save`). The same transaction on one file system is one rename.
set -euo pipefail
folder=$(mktemp -d)
other=$(mktemp -d -p /dev/shm)
trap 'rm -rf "$folder" "$other"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q fsspec==2026.9.0
cat >"$folder/transaction.py" <<'PY'
import sys
import tempfile
from pathlib import Path

import fsspec

target, tempfile.tempdir = Path(sys.argv[1], "last.ckpt"), sys.argv[2]
target.write_bytes(b"the checkpoint of the epoch before")
seen = []


def listen(event: str, arguments: tuple) -> None:
    if event == "open" and str(arguments[0]) == str(target) and arguments[1] is not None:
        seen.append(f"opened to be {'written' if 'w' in arguments[1] else 'read'}: {target.stat().st_size} bytes in it")
    elif event in ("os.rename", "shutil.copyfile"):
        seen.append(event)


files = fsspec.filesystem("file")
sys.addaudithook(listen)
with files.transaction, files.open(str(target), "wb") as file:
    file.write(b"the checkpoint of this epoch")
print("; ".join(seen))
PY
run() { "$folder/venv/bin/python" "$folder/transaction.py" "$folder" "$1"; }
mkdir "$folder/tmp"
found="one file system: $(run "$folder/tmp")
two: $(run "$other")"
echo "$found"
expected="one file system: os.rename
two: os.rename; shutil.copyfile; opened to be written: 34 bytes in it"
[ "$found" = "$expected" ] && echo "as seen before" || { echo "changed; it was:"; echo "$expected"; exit 1; }
