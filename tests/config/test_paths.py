"""What DVC could not read is said before it is asked, with a command that helps."""

import os
import subprocess
from pathlib import Path

import pytest

from thawline.config.errors import UserError
from thawline.config.paths import expanded, is_nameable, missing, require_watchable


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("it's mine/ant/1.png", "it's mine/bee/2.png"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_bytes(b"x")
    return tmp_path / "it's mine"


def follow_the_advice(path: Path, expected: str) -> None:
    """Look what is said about `path`, run the command it names in bash, and expect no more to be wrong."""
    with pytest.raises(UserError, match=expected) as refused:
        require_watchable(path)
    command = str(refused.value).splitlines()[-1].partition(": ")[2]
    subprocess.run(["bash", "-c", command], check=True, capture_output=True)
    require_watchable(path)


def named(folder: Path, name: bytes) -> Path:
    return Path(os.fsdecode(os.fsencode(folder) + b"/" + name))


def test_what_is_in_order_is_not_touched(root: Path) -> None:
    (root / "linked").symlink_to(root / "ant")
    (root / "circle").symlink_to(root)
    require_watchable(root)
    require_watchable(root / "ant" / "1.png")


@pytest.mark.parametrize("place", ["3.png", "ant/3.png", "linked/3.png"])
def test_links_that_lead_nowhere(root: Path, tmp_path: Path, place: str) -> None:
    (tmp_path / "elsewhere").mkdir()
    (root / "linked").symlink_to(tmp_path / "elsewhere")
    (root / place).symlink_to("/nowhere/3.png")
    follow_the_advice(root, r"links lead nowhere: .*3\.png")


def test_a_link_to_a_folder_that_is_gone(root: Path) -> None:
    (root / "cat").symlink_to("/nowhere/cat")
    follow_the_advice(root, r"links lead nowhere: .*cat")


@pytest.mark.parametrize("name", [b"caf\xe9.png", b"\x83\x8a\x83\x93.png", b"\xb0\xa1'b.png", b"a\\\xff.png"])
def test_names_of_files_that_are_not_utf8(root: Path, name: bytes) -> None:
    named(root / "ant", name).write_bytes(b"x")
    follow_the_advice(root, r"names are not UTF-8: .*\\x")


def test_names_of_class_folders_that_are_not_utf8(root: Path) -> None:
    named(root, b"ch\xeane").mkdir()
    follow_the_advice(root, r"names are not UTF-8: .*ch\\xeane")
    assert (root / "chêne").is_dir()


def test_pipes_that_would_wait_for_ever(root: Path) -> None:
    os.mkfifo(root / "ant" / "pipe.png")
    follow_the_advice(root, r"some are neither files nor folders: .*pipe\.png")


def test_files_that_may_not_be_read(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: "2.png" not in path and access(path, mode))
    with pytest.raises(UserError, match=r"may not be read: .*2\.png\.\n  .*chmod -R u\+rX"):
        require_watchable(root)


def test_only_the_first_few_are_named(root: Path) -> None:
    for number in range(5):
        (root / f"{number}.png").symlink_to("/nowhere")
    with pytest.raises(UserError, match=r"\.png and 2 more\."):
        require_watchable(root)


@pytest.mark.parametrize("name", [b"caf\xe9", b"a${b}"])
def test_a_root_that_params_yaml_cannot_hold_can_be_linked_to(tmp_path: Path, name: bytes) -> None:
    folder = named(tmp_path, name)
    folder.mkdir()
    assert not is_nameable(folder)
    with pytest.raises(UserError, match="params.yaml cannot hold this path") as refused:
        require_watchable(folder)
    command = str(refused.value).splitlines()[-1].partition("give that: ")[2]
    subprocess.run(["bash", "-c", command], check=True, env={**os.environ, "HOME": str(tmp_path)})
    require_watchable(tmp_path / "pictures")


def test_a_link_on_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "disk").symlink_to("/media/gone")
    assert missing(tmp_path / "disk" / "leaves") == (
        f"{tmp_path}/disk/leaves does not exist: {tmp_path}/disk is a link to /media/gone"
    )
    assert missing(tmp_path / "leaves") == f"{tmp_path}/leaves does not exist"


@pytest.mark.parametrize("typed", ["~nobody-is-called-so/leaves", "~nobody-is-called-so"])
def test_the_home_of_nobody_is_a_folder_of_that_name(typed: str) -> None:
    assert missing(expanded(typed)) == f"{typed} does not exist"


def test_a_home_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert expanded("~/leaves") == tmp_path / "leaves"
