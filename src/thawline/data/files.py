"""The files below a folder or in an archive, read without unpacking anything."""

import os
from dataclasses import dataclass, field
from pathlib import Path

from thawline.config.errors import UserError
from thawline.config.paths import missing, shown, why_inaccessible
from thawline.data.archives import ARCHIVES, Member, is_archive, members
from thawline.data.collection import Dropped
from thawline.data.content import Content, file_at
from thawline.data.names import normal

_SYSTEM_FOLDERS = ("__MACOSX", "@eaDir", "$RECYCLE.BIN", "System Volume Information", "lost+found")
"""Made by the system beside people's files; some hold small copies of their pictures."""


@dataclass
class Files:
    """The files of a root: `read[name]()` returns the bytes of one, from any thread. Names are relative
    to the root, with `/` between the parts, in Unicode's form NFC wherever they come from. `folders` are the
    folders seen, `refused` what is no plain file or has another's name, `notes` what there is to say about
    the names."""

    read: dict[str, Content] = field(default_factory=dict)
    folders: set[str] = field(default_factory=set)
    refused: list[Dropped] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def open_files(root: Path) -> Files:
    """List what lies below `root`, a folder or an archive (`ARCHIVES`).

    Hidden files and folders of the system's own are passed over. Links in a folder are followed, but to no
    folder further up; links out of or inside an archive never are. Raises `UserError` when `root` does not
    exist, is of another kind, or is a damaged archive.
    """
    if root.is_dir():
        return _folder(root)
    if not root.exists():
        raise UserError(f"{missing(root)}.")
    if not root.is_file() or not is_archive(root):
        raise UserError(f"{shown(str(root))} is neither a folder nor one of {', '.join(ARCHIVES)}.")
    return _archive(root)


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
        files.folders.update(normal((relative / name).as_posix()) for name in subfolders)
        for name in sorted(names):  # the disk has no order
            if not _is_hidden(name):
                _add_file(files, normal((relative / name).as_posix()), Path(folder, name))
    return files


def _add_file(files: Files, name: str, path: Path) -> None:
    """File what lies at `path`. A link that leads nowhere is a file, too, and so is what the system
    does not let us see: reading it says so."""
    if name in files.read:
        files.refused.append(Dropped(name, "a second file with the same name, in another Unicode form"))
    elif why_inaccessible(path) is not None or path.is_file() or not path.exists():
        files.read[name] = file_at(path)
    else:  # opening a pipe would wait for ever
        files.refused.append(Dropped(name, "no plain file", "a pipe, a socket or a device"))


def _cannot_list(error: OSError) -> None:
    raise UserError(f"{error.filename} cannot be listed: {error.strerror}") from None


def _archive(root: Path) -> Files:
    found, notes = members(root)
    files = Files(notes=notes)
    for member in found:
        _add(files, member)
    return files


def _add(files: Files, member: Member) -> None:
    """File one member of an archive. Nothing is ever unpacked, so a name cannot lead anywhere, but one
    that tries to is no picture's."""
    path = normal(member.name).removeprefix("./").rstrip("/")
    parts = path.split("/")
    if path in ("", ".") or (".." not in parts and _is_hidden(path)):
        return
    if "" in parts or ".." in parts:
        files.refused.append(Dropped(path, "a member of the archive with an unsafe name"))
        return
    files.folders.update("/".join(parts[:depth]) for depth in range(1, len(parts)))
    if member.is_folder:
        files.folders.add(path)
    elif not member.plain:
        reason = "a member of the archive that is no plain file"
        files.refused.append(Dropped(path, reason, "a link, a device or a sparse file"))
    elif path in files.read:
        files.refused.append(Dropped(path, "a second member of the archive with the same name"))
    else:
        files.read[path] = member.read
