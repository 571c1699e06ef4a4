"""Git as it was before an experiment: DVC takes HEAD off its branch, and stages the settings, while it runs.

Where it is killed both stay so. What is committed next would be on no branch; and settings that are put back
in the working tree alone, beside staged ones, are what no later `dvc exp run` can take.
"""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NOTE = Path("scratch", "branch")
"""Where the branch is noted while an experiment runs, in case this process is killed as well."""


@contextmanager
def on_its_branch(root: Path) -> Iterator[None]:
    """Have HEAD of the repository `root` on its branch after the block, and first where an earlier block that
    was killed has left it off. Without git, and where somebody has taken HEAD elsewhere, nothing happens."""
    note = root / NOTE
    if note.exists():
        _return_to(note.read_text(), root)
        note.unlink()
    branch = _git(root, "symbolic-ref", "-q", "HEAD")
    if branch:
        note.parent.mkdir(parents=True, exist_ok=True)
        note.write_text(branch)
    try:
        yield
    finally:
        if branch:
            _return_to(branch, root)
            note.unlink(missing_ok=True)


def put_back(path: Path, content: bytes, root: Path) -> None:
    """Give the file `path` of the repository `root` its earlier content, and let nothing of it be staged."""
    path.write_bytes(content)
    _git(root, "reset", "-q", "--", str(path.relative_to(root)))


def _return_to(branch: str, root: Path) -> None:
    """Put HEAD on `branch` if it is on none, but at its commit."""
    here, there = (_git(root, "rev-parse", "-q", "--verify", name) for name in ("HEAD", branch))
    if here == there and not _git(root, "symbolic-ref", "-q", "HEAD"):
        _git(root, "symbolic-ref", "-m", "thawline: back after an experiment", "HEAD", branch)


def _git(root: Path, *arguments: str) -> str:
    """Return what git says in `root`; nothing where it fails or there is none."""
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, check=False
        )
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
