#!/bin/sh
# Find a Python that thawline supports; tools/setup.py does the rest with it.
# PYTHON=/path/to/python chooses the interpreter.
set -eu
cd "$(dirname "$0")/.."

use_if_supported() {
    if "$1" -I -S -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))' 2>/dev/null; then
        exec "$1" -I tools/setup.py
    fi
}

if [ -n "${PYTHON:-}" ]; then
    use_if_supported "$PYTHON"
    found="PYTHON=$PYTHON is not one"
else
    # the environment's own Python comes first: where that is complete, no other is needed
    for candidate in .venv/bin/python python3 python3.12 python3.11 python; do
        use_if_supported "$candidate"
    done
    found="none was found"
fi

cat >&2 <<EOF
Set-up stopped: thawline needs Python 3.11 or 3.12, and $found.
  Debian, Ubuntu:      sudo apt-get install python3 python3-venv
  macOS:               brew install python@3.12
  installed elsewhere: make PYTHON=/path/to/python3.12 ...
EOF
exit 1
