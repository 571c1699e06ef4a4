#!/usr/bin/env bash
# `dvc exp run` ends with an unexpected error where a staged change was taken back in the working tree.
#
# Seen with dvc 3.67.1, scmrepo 3.6.2, pygit2 1.21.0, Python 3.11, Linux: a file is changed, staged, and then has
# its committed content again (`MM` in `git status --short`, though nothing differs from the commit). DVC stashes
# the working tree, applies the stash, and libgit2 refuses: "Stash apply resulted in merge conflicts: 1 uncommitted
# changes exist in the index". A staged change alone, and one that was changed once more to something else, are
# taken. The file need not be one that DVC knows. `git reset` helps; no content is lost. Here: 255 with these
# words for the change that was taken back, 0 for the two others.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q dvc==3.67.1 scmrepo==3.6.2 pygit2==1.21.0
export PATH="$folder/venv/bin:$PATH" HOME="$folder" DVC_NO_ANALYTICS=1
mkdir "$folder/project"
cd "$folder/project"
git init -q
git config user.name A
git config user.email a@b
dvc init -q
echo 'p: 1' >params.yaml
echo one >notes.txt
echo out.txt >.gitignore
cat >dvc.yaml <<'YAML'
stages:
  s:
    cmd: echo done > out.txt
    params: [p]
    outs:
      - out.txt:
          cache: false
YAML
git add -A
git commit -qm begin
failed=0
try() { # what the working tree holds after `two` was staged, the expected status, and words of the answer
    git reset -q --hard
    echo two >notes.txt
    git add notes.txt
    echo "$1" >notes.txt
    status=0
    said=$(dvc exp run -S p="$RANDOM" 2>&1) || status=$?
    echo "one is committed, two staged, $1 there: ends with $status"
    [ "$status" -eq "$2" ] || failed=1
    grep -q "$3" <<<"$said" || { echo "$said"; failed=1; }
}
try two 0 "Ran experiment"
try three 0 "Ran experiment"
try one 255 "1 uncommitted changes exist in the index"
exit "$failed"
