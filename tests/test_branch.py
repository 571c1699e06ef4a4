"""Git is as it was when an experiment is over, whoever was killed."""

import subprocess
from pathlib import Path

import pytest

from thawline.branch import NOTE, on_its_branch, put_back


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    git(tmp_path, "init", "-q", "-b", "mine")
    (tmp_path / "params.yaml").write_text("p: 1\n")
    commit(tmp_path)
    return tmp_path


def git(root: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=A", "-c", "user.email=a@b"]
    done = subprocess.run(
        ["git", "-C", str(root), *identity, *arguments], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def commit(root: Path) -> None:
    git(root, "add", "params.yaml")
    git(root, "commit", "-qm", "settings")


def head(root: Path) -> str:
    return git(root, "rev-parse", "--abbrev-ref", "HEAD")


def test_head_is_on_its_branch_again_whatever_happened(repository: Path) -> None:
    def interrupted() -> None:
        with on_its_branch(repository):
            git(repository, "checkout", "-q", "--detach")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert head(repository) == "mine"
    assert not (repository / NOTE).exists()


def test_the_next_one_puts_it_there_where_this_process_was_killed(repository: Path) -> None:
    (repository / NOTE).parent.mkdir()
    (repository / NOTE).write_text("refs/heads/mine")
    git(repository, "checkout", "-q", "--detach")
    with on_its_branch(repository):
        assert head(repository) == "mine"


def test_work_that_goes_on_off_the_branch_is_left_where_it_is(repository: Path) -> None:
    with on_its_branch(repository):
        git(repository, "checkout", "-q", "--detach")
        (repository / "params.yaml").write_text("p: 2\n")
        commit(repository)
    assert head(repository) == "HEAD"
    with on_its_branch(repository):
        assert not (repository / NOTE).exists()


def test_another_branch_is_left_alone(repository: Path) -> None:
    with on_its_branch(repository):
        git(repository, "checkout", "-qb", "another")
    assert head(repository) == "another"


def test_without_a_repository_nothing_happens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in (None, str(tmp_path)):
        if path:
            monkeypatch.setenv("PATH", path)  # nor git
        with on_its_branch(tmp_path):
            put_back(tmp_path / "params.yaml", b"p: 1\n", tmp_path)
        assert [each.name for each in tmp_path.iterdir()] == ["params.yaml"]


def test_settings_that_are_put_back_are_not_staged_either(repository: Path) -> None:
    (repository / "params.yaml").write_text("p: 2\n")
    git(repository, "add", "params.yaml")
    put_back(repository / "params.yaml", b"p: 1\n", repository)
    assert git(repository, "status", "--porcelain") == ""
