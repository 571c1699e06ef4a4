"""Which code and which process a run comes from."""

import os
import socket
import subprocess

from thawline.tracking.origin import is_dead, origin, this_process


def git(repository, *arguments):
    identity = ["-c", "user.name=me", "-c", "user.email=me@example.org"]
    subprocess.run(["git", *identity, *arguments], cwd=repository, check=True, capture_output=True)


def test_the_commit_is_recorded_and_whether_the_code_differs_from_it(tmp_path):
    git(tmp_path, "init")
    for name in ("code.py", "dvc.lock"):
        (tmp_path / name).write_text("1")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "first")

    def now():
        origin.cache_clear()
        return origin(tmp_path)

    assert len(now()["mlflow.source.git.commit"]) == 40
    assert now()["git_dirty"] == "false"
    (tmp_path / "dvc.lock").write_text("2")
    assert now()["git_dirty"] == "false"
    (tmp_path / "code.py").write_text("2")
    assert now()["git_dirty"] == "true"


def test_outside_git_no_commit_is_recorded(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert not {"mlflow.source.git.commit", "git_dirty"} & origin(tmp_path).keys()


def test_a_later_process_with_the_same_number_is_not_mistaken_for_the_dead_one():
    me = this_process()
    assert not is_dead(me)
    assert is_dead(f"{socket.gethostname()} {os.getpid()} 1000.00")
