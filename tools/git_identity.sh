#!/bin/sh
# DVC records experiments as git commits and refuses to where git knows no name. Give this clone (not
# the account) the name git itself would fall back to; `git config user.name ...` changes it.
set -eu
cd "$(dirname "$0")/.."
git rev-parse --git-dir >/dev/null 2>&1 || exit 0
if [ -z "$(git config user.name || true)" ]; then
    git config --local user.name "$(id -un)"
fi
if [ -z "$(git config user.email || true)" ]; then
    git config --local user.email "$(id -un)@localhost"
fi
