#!/usr/bin/env bash
# A program that calls gc.freeze(), as is advised where processes are forked or garbage collection costs time, ends
# with a report of leaks on stderr where Triton was loaded, though nothing leaked; the exit status stays 0.
#
# Seen with triton 3.9.0 (bound by nanobind), Python 3.11, Linux: nanobind counts, when the interpreter ends, the
# functions, types and instances that Python has not given back. Frozen objects are left out of the last collection,
# so all of its module is still there: "nanobind: leaked 4 instances!", "leaked 64 types!", "leaked 514 functions!".
# PyTorch loads Triton with torch._dynamo, which torchvision, timm and the first optimizer load: a program need not
# know of it. gc.unfreeze() registered with atexit ends it, and so does not running the last collection (os._exit).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q triton==3.9.0
report() {
    "$folder/venv/bin/python" -c "$1" 2>&1 | grep '^nanobind: leaked' || echo "nothing reported"
}
frozen=$(report 'import gc, triton; gc.freeze()')
plain=$(report 'import gc, triton')
thawed=$(report 'import atexit, gc, triton; gc.freeze(); atexit.register(gc.unfreeze)')
echo "gc.freeze():"
echo "$frozen"
echo "without: $plain"
echo "thawed at exit: $thawed"
[[ "$frozen" == *leaked*types* && "$plain" == "nothing reported" && "$thawed" == "nothing reported" ]]
