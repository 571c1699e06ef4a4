"""The files below a folder or in an archive, read without unpacking anything."""

import gzip
import io
import mmap
import os
import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import BinaryIO

from thawline.config.errors import UserError
from thawline.data.collection import Dropped

ARCHIVES = (".tar", ".tar.gz", ".tgz", ".zip")
LONGEST = 512 * 2**20
"""Bytes of the longest file that is taken into memory to be read in any order."""
_SYSTEM_FOLDERS = ("__MACOSX", "@eaDir", "$RECYCLE.BIN", "System Volume Information", "lost+found")
"""Made by the system beside people's files; some hold small copies of their pictures."""


@dataclass(frozen=True)
class Content:
    """What is in one file, to be read from any thread; a call returns all of it.

    `first(size)` returns the first bytes, all where `size` is -1; `path` is None in an archive."""

    first: Callable[[int], bytes]
    path: Path | None = None

    def __call__(self) -> bytes:
        return self.first(-1)

    def seekable(self) -> BinaryIO:
        """Open the file to be read in any order: on a disk as it is; from archives and pipes in memory.

        Raises `OverflowError` where more than `LONGEST` bytes would have to be.
        """
        if self.path is not None:
            file = self.path.open("rb")
            if file.seekable():
                return file
            with file:
                content = file.read(LONGEST + 1)
        else:
            content = self.first(LONGEST + 1)
        if len(content) > LONGEST:
            raise OverflowError
        return io.BytesIO(content)


def file_at(path: Path) -> Content:
    """Return the content of the file at `path`."""
    return Content(partial(_first_of_file, path), path)


@dataclass
class Files:
    """The files of a root: `read[name]()` returns the bytes of one, from any thread. Names are relative
    to the root, with `/` between the parts. `folders` are the folders seen, `refused` what is no plain
    file."""

    read: dict[str, Content] = field(default_factory=dict)
    folders: set[str] = field(default_factory=set)
    refused: list[Dropped] = field(default_factory=list)


def open_files(root: Path) -> Files:
    """List what lies below `root`, a folder or an archive (`ARCHIVES`).

    Hidden files and folders of the system's own are passed over. Links in a folder are followed, but to no
    folder further up; links out of or inside an archive never are. Raises `UserError` when `root` does not
    exist, is of another kind, or is a damaged archive.
    """
    name = root.name.lower()
    if root.is_dir():
        return _folder(root)
    if not root.exists():
        raise UserError(f"{root} does not exist.")
    if not name.endswith(ARCHIVES):
        raise UserError(f"{root} is neither a folder nor one of {', '.join(ARCHIVES)}.")
    try:
        return _zip(root) if name.endswith(".zip") else _tar(root, compressed=not name.endswith(".tar"))
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, OSError, zlib.error, ValueError) as error:
        raise UserError(f"{root} cannot be read as an archive: {error}") from None


def _is_hidden(name: str) -> bool:
    return any(part.startswith(".") or part in _SYSTEM_FOLDERS for part in name.split("/"))


def _folder(root: Path) -> Files:
    files, seen = Files(), set()
    for folder, subfolders, names in os.walk(root, followlinks=True, onerror=_cannot_list):
        # A link to a folder further up would never end.
        seen.add(os.path.realpath(folder))
        subfolders[:] = sorted(
            name
            for name in subfolders
            if not _is_hidden(name) and os.path.realpath(Path(folder, name)) not in seen
        )
        relative = Path(folder).relative_to(root)
        files.folders.update((relative / name).as_posix() for name in subfolders)
        for name in names:
            if not _is_hidden(name):
                _add_file(files, (relative / name).as_posix(), Path(folder, name))
    return files


def _add_file(files: Files, name: str, path: Path) -> None:
    """File what lies at `path`. A link that leads nowhere is a file, too: reading it says so."""
    if path.is_file() or not path.exists():
        files.read[name] = file_at(path)
    else:  # opening a pipe would wait for ever
        files.refused.append(Dropped(name, "no plain file", "a pipe, a socket or a device"))


def _first_of_file(path: Path, size: int) -> bytes:
    with path.open("rb") as file:
        return file.read(size)


def _cannot_list(error: OSError) -> None:
    raise UserError(f"{error.filename} cannot be listed: {error.strerror}") from None


def _add(files: Files, name: str, is_folder: bool, is_plain: bool, read: Content) -> None:
    """File one member of an archive. Nothing is ever unpacked, so a name cannot lead anywhere, but one
    that tries to is no picture's."""
    parts = name.removeprefix("./").rstrip("/").split("/")
    path = "/".join(parts)
    if path in ("", ".") or (".." not in parts and _is_hidden(path)):
        return
    if "" in parts or ".." in parts:
        files.refused.append(Dropped(name, "a member of the archive with an unsafe name"))
    elif is_folder:
        files.folders.add(path)
    elif not is_plain:
        files.refused.append(
            Dropped(
                name, "a member of the archive that is no plain file", "a link, a device or a sparse file"
            )
        )
    elif path in files.read:
        files.refused.append(Dropped(name, "a second member of the archive with the same name"))
    else:
        files.read[path] = read
        files.folders.update("/".join(parts[:depth]) for depth in range(1, len(parts)))


def _tar(root: Path, compressed: bool) -> Files:
    files = Files()
    with root.open("rb") as raw, tempfile.TemporaryFile() as unpacked:
        if compressed:
            # Members of a compressed archive cannot be reached in any order.
            with gzip.open(raw) as stream:
                shutil.copyfileobj(stream, unpacked)
            unpacked.seek(0)
        handle: BinaryIO = unpacked if compressed else raw
        content = mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ)
        with tarfile.open(fileobj=handle, mode="r:") as archive:
            for member in archive:
                read = Content(partial(_slice, content, member.offset_data, member.size))
                plain = member.isreg() and not member.issparse()
                _add(files, member.name, member.isdir(), plain, read)
                if member.offset_data + member.size > len(content):
                    raise ValueError(f"it ends in the middle of {member.name}")
    return files


def _slice(content: mmap.mmap, start: int, length: int, size: int) -> bytes:
    return content[start : start + (length if size < 0 else min(length, size))]


def _zip(root: Path) -> Files:
    files, archive = Files(), zipfile.ZipFile(root)
    for member in archive.infolist():
        kind = stat.S_IFMT(member.external_attr >> 16)
        read = Content(partial(_first_of_member, archive, member))
        _add(files, member.filename.replace("\\", "/"), member.is_dir(), kind in (0, stat.S_IFREG), read)
    return files


def _first_of_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, size: int) -> bytes:
    with archive.open(member) as file:
        return file.read(size)
