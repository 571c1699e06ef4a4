"""Folders and archives list the same files; nothing is unpacked and no link is followed."""

import io
import os
import re
import socket
import subprocess
import tarfile
import unicodedata
import zipfile
from collections import namedtuple
from pathlib import Path

import pytest

from thawline.config.errors import UserError
from thawline.data.files import open_files

PACKED = {".gz": "gz", ".tgz": "gz", ".bz2": "bz2", ".tbz2": "bz2", ".xz": "xz", ".txz": "xz"}
KINDS = ["tar", "tar.gz", "tgz", "tar.bz2", "tbz2", "tar.xz", "txz", "zip"]
CONTENT = {"set/a/1.png": b"one", "set/a/2.png": b"two", "set/b/x y.png": b"three", "notes.txt": b""}


def write_folder(root: Path) -> Path:
    for name, content in CONTENT.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def write_tar(path: Path, members: list[tuple[tarfile.TarInfo | str, bytes]]) -> Path:
    with tarfile.open(path, f"w:{PACKED.get(path.suffix, '')}") as archive:
        for member, content in members:
            info = tarfile.TarInfo(member) if isinstance(member, str) else member
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def write_zip(path: Path, members: list[tuple[zipfile.ZipInfo | str, bytes]]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for member, content in members:
            archive.writestr(member, content)
    return path


def write(root: Path, kind: str) -> Path:
    if kind == "folder":
        return write_folder(root / "folder")
    return (write_zip if kind == "zip" else write_tar)(root / f"x.{kind}", list(CONTENT.items()))


def link(name: str, target: str, kind: bytes) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize("kind", ["folder", *KINDS])
def test_every_kind_of_root_lists_and_reads_the_same(tmp_path, kind):
    files = open_files(write(tmp_path, kind))
    assert {name: read() for name, read in files.read.items()} == CONTENT
    assert files.folders == {"set", "set/a", "set/b"}
    assert files.refused == []


def test_upper_case_endings_are_archives_too(tmp_path):
    write(tmp_path, "tar").rename(tmp_path / "X.TAR")
    assert open_files(tmp_path / "X.TAR").read.keys() == CONTENT.keys()


@pytest.mark.parametrize("kind", ["tar", "zip"])
@pytest.mark.parametrize("name", ["../../evil.png", "/etc/passwd.png", "a/../../b.png"])
def test_unsafe_names_are_refused_and_said(tmp_path, kind, name):
    writer = write_tar if kind == "tar" else write_zip
    files = open_files(writer(tmp_path / f"x.{kind}", [(name, b"x"), ("a/ok.png", b"y")]))
    assert list(files.read) == ["a/ok.png"]
    assert [picture.reason for picture in files.refused] == ["a member of the archive with an unsafe name"]


@pytest.mark.parametrize(
    "kind",
    [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.GNUTYPE_SPARSE],
    ids=["symbolic link", "hard link", "fifo", "device", "sparse"],
)
def test_links_devices_and_files_with_holes_in_a_tar_are_refused(tmp_path, kind):
    files = open_files(write_tar(tmp_path / "x.tar", [(link("a/1.png", "/etc/passwd", kind), b"")]))
    assert files.read == {}
    assert [picture.path for picture in files.refused] == ["a/1.png"]


def test_links_in_a_zip_are_refused(tmp_path):
    info = zipfile.ZipInfo("a/1.png")
    info.external_attr = 0o120777 << 16
    files = open_files(write_zip(tmp_path / "x.zip", [(info, b"/etc/passwd")]))
    assert (files.read, [picture.path for picture in files.refused]) == ({}, ["a/1.png"])


def test_the_first_of_two_members_with_one_name_counts(tmp_path):
    path = write_tar(tmp_path / "x.tar", [("a/1.png", b"first"), ("a/1.png", b"second")])
    files = open_files(path)
    assert files.read["a/1.png"]() == b"first"
    assert [picture.reason for picture in files.refused] == [
        "a second member of the archive with the same name"
    ]


def test_of_two_unicode_forms_of_a_name_the_same_counts_whatever_the_order_of_the_disk(tmp_path, monkeypatch):
    forms = [unicodedata.normalize(form, "é.png") for form in ("NFC", "NFD")]
    for form in forms:
        (tmp_path / form).write_text(form)
    for names in (forms, forms[::-1]):
        monkeypatch.setattr("os.walk", lambda *_, names=names, **__: [(str(tmp_path), [], list(names))])
        files = open_files(tmp_path)
        assert {name: read() for name, read in files.read.items()} == {forms[0]: forms[1].encode()}
        assert [picture.path for picture in files.refused] == forms[:1]


@pytest.mark.parametrize("kind", ["folder", "tar", "zip"])
def test_hidden_files_are_passed_over_without_a_word(tmp_path, monkeypatch, kind):
    hidden = {"a/.DS_Store": b"", "__MACOSX/a/._1.png": b"", ".cache/x.png": b"", "a/1.png": b"x"}
    hidden |= {"a/.ipynb_checkpoints/1.png": b"", ".Trash/2.png": b"", "a/@eaDir/1.png": b""}
    monkeypatch.setattr(f"{__name__}.CONTENT", hidden)
    files = open_files(write(tmp_path, kind))
    assert (list(files.read), files.refused) == (["a/1.png"], [])


def test_names_starting_with_a_dot_slash_and_windows_separators(tmp_path):
    assert list(open_files(write_tar(tmp_path / "x.tar", [("./a/1.png", b"")])).read) == ["a/1.png"]
    info = zipfile.ZipInfo("x")
    info.filename = "a\\1.png"
    assert list(open_files(write_zip(tmp_path / "x.zip", [(info, b"")])).read) == ["a/1.png"]


@pytest.mark.parametrize(
    ("kind", "ending"),
    [("zip", "tar"), ("zip", "download"), ("tar.gz", "zip"), ("tar.xz", "tgz"), ("tar.xz", "1")],
)
def test_an_archive_is_what_its_content_says(tmp_path, kind, ending):
    path = write(tmp_path, kind).rename(tmp_path / f"leaves.{ending}")
    assert open_files(path).read.keys() == CONTENT.keys()


def test_links_in_a_folder_are_followed_but_not_in_circles(tmp_path):
    root = write_folder(tmp_path / "root")
    (root / "set" / "circle").symlink_to(root)
    (root / "linked").symlink_to(write_folder(tmp_path / "elsewhere") / "set")
    assert {"linked/a/1.png", "set/a/1.png"} <= open_files(root).read.keys()
    assert not any("circle" in name for name in open_files(root).read)


def test_pipes_and_sockets_are_refused_instead_of_waited_for(tmp_path, monkeypatch):
    root = write_folder(tmp_path / "root")
    os.mkfifo(root / "set" / "a" / "pipe.png")
    monkeypatch.chdir(root)  # a socket's name may not be long
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket.png")
        files = open_files(root)
    assert files.read.keys() == CONTENT.keys()
    assert {picture.path for picture in files.refused} == {"set/a/pipe.png", "socket.png"}
    assert {picture.reason for picture in files.refused} == {"no plain file"}


def test_a_link_that_leads_nowhere_is_a_file_that_cannot_be_read(tmp_path):
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere.png")
    read = open_files(tmp_path).read["gone.png"]
    with pytest.raises(FileNotFoundError):
        read()


@pytest.mark.parametrize("kind", ["folder", "tar", "zip"])
def test_the_first_bytes_alone(tmp_path, kind):
    read = open_files(write(tmp_path, kind)).read["set/b/x y.png"]
    assert (read.first(2), read.first(99), read()) == (b"th", b"three", b"three")
    assert read.head == b"three"
    with read.seekable() as file:
        assert file.read() == b"three"


def test_a_table_that_would_fill_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr("thawline.data.content.LONGEST", 1000)
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("groups.csv", bytes(10**6))
    with pytest.raises(UserError, match="a member of the archive is longer than 512 MiB and not read"):
        open_files(tmp_path / "x.zip").read["groups.csv"]()


def test_a_compressed_archive_that_would_fill_the_disk(tmp_path, monkeypatch):
    usage = namedtuple("usage", "free")
    monkeypatch.setattr("thawline.data.archives.shutil.disk_usage", lambda _: usage(6_000_000))
    path = tmp_path / "my pictures.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        member = tarfile.TarInfo("a/x.bmp")
        member.size = 4_000_000
        archive.addfile(member, io.BytesIO(bytes(member.size)))
    assert path.stat().st_size < 10_000
    with pytest.raises(
        UserError, match=r"my pictures\.tar\.gz unpacks to more than 0\.003 GB, half of what"
    ) as said:
        open_files(path)
    command = re.search("unpack it: (.*)", str(said.value))[1]
    subprocess.run(command, shell=True, cwd=tmp_path, check=True)
    assert open_files(tmp_path / "pictures").read.keys() == {"a/x.bmp"}


def test_a_missing_root(tmp_path):
    with pytest.raises(UserError, match=r"nowhere does not exist"):
        open_files(tmp_path / "nowhere")


def test_another_kind_of_file(tmp_path):
    (tmp_path / "x.rar").touch()
    with pytest.raises(
        UserError, match=r"x\.rar is neither a folder nor one of \.tar, \.tar\.gz, \.tgz, \.tar\.bz2"
    ):
        open_files(tmp_path / "x.rar")


@pytest.mark.parametrize("kind", ["tar", "tar.gz", "zip"])
@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "it is empty"),
        (b"no archive at all" * 40, "it does not begin as any of .tar, .tar.gz"),
        (b"\n<!DOCTYPE html><title>Log in</title>", "it holds a web page, as a download does"),
    ],
)
def test_what_is_no_archive(tmp_path, kind, content, fault):
    (tmp_path / f"x.{kind}").write_bytes(content)
    with pytest.raises(UserError, match=rf"x\.{kind} cannot be read as an archive: {re.escape(fault)}"):
        open_files(tmp_path / f"x.{kind}")


@pytest.mark.parametrize(
    ("kind", "fault"),
    [
        ("tar", r"it ends in the middle of a/2\.png"),
        ("tar.gz", "it is damaged, or ends early"),
        ("zip", "the list of files at the end of a zip is missing"),
    ],
)
def test_an_archive_cut_off_in_the_middle(tmp_path, kind, fault):
    writer = write_zip if kind == "zip" else write_tar
    path = writer(tmp_path / f"x.{kind}", [("a/1.png", os.urandom(9000)), ("a/2.png", os.urandom(9000))])
    os.truncate(path, 12_000)
    with pytest.raises(UserError, match=rf"read as an archive: {fault}.*\.\n  fetch or pack it anew"):
        open_files(path)


def test_a_disk_that_cannot_be_read_is_not_taken_for_a_damaged_archive(tmp_path, monkeypatch):
    path = write_zip(tmp_path / "x.zip", [("a/1.png", b"1")])

    def failing(*_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(zipfile, "ZipFile", failing)
    with pytest.raises(UserError, match=r"cannot be read as an archive: Input/output error\.$"):
        open_files(path)


def test_a_folder_that_may_not_be_read(tmp_path, monkeypatch):
    root = write_folder(tmp_path / "root")
    scandir = os.scandir

    def guarded(path):
        if str(path).endswith("/b"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", guarded)
    with pytest.raises(UserError, match="b cannot be listed: Permission denied"):
        open_files(root)
