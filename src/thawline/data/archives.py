"""Archives, read without unpacking anything: what kind one is, what its members are called and hold."""

import bz2
import errno
import gzip
import lzma
import mmap
import shlex
import shutil
import stat
import struct
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

from thawline.config.errors import UserError
from thawline.config.paths import shown
from thawline.data.content import Content
from thawline.data.encodings import ANSI, OEM, decoded

ARCHIVES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".zip")
"""How the names of archives end that can be read. What counts is how their contents begin."""

_STREAMS: dict[bytes, Callable[..., BinaryIO]] = {
    b"\x1f\x8b": gzip.open,  # type: ignore[dict-item]
    b"BZh": bz2.open,  # type: ignore[dict-item]
    b"\xfd7zXZ\0": lzma.open,  # type: ignore[dict-item]
}
_FOREIGN = {b"7z\xbc\xaf\x27\x1c": "a 7z", b"Rar!\x1a\x07": "a rar", b"\x28\xb5\x2f\xfd": "a Zstandard"}
"""Beginnings of what Python's standard library cannot read, and what it is called."""

_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
_OTHER_METHODS = {9: "Deflate64", 93: "Zstandard", 95: "xz", 97: "WavPack", 98: "PPMd", 99: "AES"}
_ENCRYPTED, _UTF8 = 0x1, 0x800
_UNICODE_PATH = 0x7075
_DAMAGED = (tarfile.TarError, zipfile.BadZipFile, EOFError, OSError, lzma.LZMAError, zlib.error, ValueError)
"""What readers of archives raise for one that is damaged; `struct.error` is not among them."""


class _CutOffError(Exception):
    """An archive ends before its last file does."""


@dataclass(frozen=True)
class Member:
    """One entry of an archive: `plain` is a file that is neither link nor device and has no holes."""

    name: str
    is_folder: bool
    plain: bool
    read: Content


def is_archive(path: Path) -> bool:
    """Return whether the file is an archive that can be read, or says so by its name.

    Raises `UserError` for an archive of another kind, with what to do.
    """
    with path.open("rb") as handle:
        start = handle.read(512)
    for magic, kind in _FOREIGN.items():
        if start.startswith(magic):
            raise _to_unpack(path, f"{path} is {kind} archive, which cannot be read as it is.")
    known = (b"PK\3\4", b"PK\5\6", *_STREAMS)
    return start.startswith(known) or start[257:262] == b"ustar" or path.name.lower().endswith(ARCHIVES)


def members(path: Path) -> tuple[list[Member], list[str]]:
    """List the members of an archive, and what there is to say about their names.

    Raises `UserError` for a damaged archive, and for a zip that is encrypted or packed in a way that
    cannot be read here, with what to do.
    """
    try:
        return _zip(path) if zipfile.is_zipfile(path) else _tar(path)
    except UnicodeDecodeError:
        raise _to_unpack(path, f"{path} has names that are said to be UTF-8 and are not.") from None
    except (*_DAMAGED, _CutOffError, struct.error) as error:
        raise UserError(f"{path} cannot be read as an archive: {_fault(path, error)}") from None


def _fault(path: Path, error: Exception) -> str:
    """Return what is wrong with an archive that a reader gave up with `error`, in our words."""
    if isinstance(error, _CutOffError):
        return f"{error}.\n  fetch or pack it anew"
    # the disk's, not the archive's, whose damage may lead to a place that no file has
    if isinstance(error, OSError) and error.strerror and error.errno != errno.EINVAL:
        return f"{error.strerror}."
    with path.open("rb") as handle:
        start = handle.read(512)
    if not start:
        return "it is empty.\n  fetch or pack it anew"
    if start.lstrip()[:9].lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        return "it holds a web page, as a download does that was refused.\n  fetch it anew"
    if start.startswith(b"PK"):
        return "the list of files at the end of a zip is missing or damaged.\n  fetch or pack it anew"
    if start[257:262] == b"ustar" or start.startswith(tuple(_STREAMS)):
        return "it is damaged, or ends early.\n  fetch or pack it anew"
    known = ", ".join(ARCHIVES)
    return f"it does not begin as any of {known} does.\n  give a folder or an archive of pictures"


def _to_unpack(path: Path, problem: str) -> UserError:
    name = path.name.partition(".")[0] or "pictures"
    command = f"7z x {shlex.quote(shown(str(path)))} -o{shlex.quote(shown(name))}"
    return UserError(
        f"{problem}\n  unpack it, for example by: {command}\n  and give the folder: {shown(name)}"
    )


def _named(
    path: Path, raw: Sequence[bytes], candidates: Sequence[str], known: Sequence[str | None]
) -> tuple[list[str], list[str]]:
    """Return the names, those that are `known` as they are, and a line where their encoding was a guess."""
    open_ = [name for name, text in zip(raw, known, strict=True) if text is None]
    texts, encoding = decoded(open_, candidates)
    found = iter(texts)
    names = [next(found) if text is None else text for text in known]
    if encoding == "utf-8":
        return names, []
    foreign = {part for text in texts for part in text.split("/")[:-1] if not part.isascii()} or {
        text for text in texts if not text.isascii()
    }
    shown_ = ", ".join(sorted(foreign)[:5])
    return names, [
        f"names in {path.name} do not say their encoding and are read as {encoding}: {shown_} "
        "(if that is wrong, unpack it and give the folder)"
    ]


def _tar(path: Path) -> tuple[list[Member], list[str]]:
    with path.open("rb") as raw, tempfile.TemporaryFile() as unpacked:
        start = raw.read(6)
        raw.seek(0)
        open_ = next((found for magic, found in _STREAMS.items() if start.startswith(magic)), None)
        if open_ is not None:
            # Members of a compressed archive cannot be reached in any order.
            with open_(raw) as stream:
                _copy(stream, unpacked, path)
            unpacked.seek(0)
        handle: BinaryIO = raw if open_ is None else unpacked
        content = mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ)
        with tarfile.open(fileobj=handle, mode="r:", encoding="utf-8", errors="surrogateescape") as archive:
            found = list(_whole(archive, len(content)))
    raw_names = [each.name.encode("utf-8", "surrogateescape") for each in found]
    names, notes = _named(path, raw_names, (*ANSI, *OEM), [None] * len(found))
    return [
        Member(
            name,
            each.isdir(),
            each.isreg() and not each.issparse(),
            Content(partial(_slice, content, each.offset_data, each.size)),
        )
        for name, each in zip(names, found, strict=True)
    ], notes


def _copy(stream: BinaryIO, unpacked: BinaryIO, path: Path) -> None:
    """Unpack the whole of a stream. Raises `UserError` where it takes more than half of the free disk: a few
    kilobytes may unpack to any size."""
    place = tempfile.gettempdir()
    limit = shutil.disk_usage(place).free // 2
    while block := stream.read(2**20):
        if unpacked.tell() + len(block) > limit:
            raise UserError(
                f"{path} unpacks to more than {limit / 1e9:.3g} GB, half of what is free in {place}.\n"
                "  where that is right, unpack it: "
                f"mkdir pictures && tar -xf {shlex.quote(shown(str(path)))} -C pictures\n"
                "  and give the folder; or let temporary files lie on a larger disk: TMPDIR=FOLDER"
            )
        unpacked.write(block)


def _whole(archive: tarfile.TarFile, size: int) -> Iterator[tarfile.TarInfo]:
    for member in archive:
        yield member
        if member.offset_data + member.size > size:
            raise _CutOffError(f"it ends in the middle of {shown(member.name)}")


def _slice(content: mmap.mmap, start: int, length: int, size: int) -> bytes:
    return content[start : start + min(length, size)]


def _zip(path: Path) -> tuple[list[Member], list[str]]:
    archive = zipfile.ZipFile(path)
    found = archive.infolist()
    _require_readable(path, [each for each in found if not each.is_dir()])
    # Python decodes what does not say that it is UTF-8 as cp437, which keeps every byte
    raw = [each.orig_filename.encode("utf-8" if each.flag_bits & _UTF8 else "cp437") for each in found]
    known = [_said(each, name) for each, name in zip(found, raw, strict=True)]
    names, notes = _named(path, raw, (*OEM, *ANSI), known)
    return [
        Member(
            name.replace("\\", "/"),
            each.is_dir() or name.endswith("\\"),
            stat.S_IFMT(each.external_attr >> 16) in (0, stat.S_IFREG),
            Content(partial(_first_of_member, archive, each)),
        )
        for name, each in zip(names, found, strict=True)
    ], notes


def _first_of_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, size: int) -> bytes:
    with archive.open(member) as file:
        return file.read(size)


def _said(member: zipfile.ZipInfo, raw: bytes) -> str | None:
    """Return the name as the member says it in Unicode, by its flag or by Info-ZIP's field for that, which
    has a checksum of the name it belongs to; None where it does not."""
    if member.flag_bits & _UTF8:
        return member.filename
    rest = member.extra
    while len(rest) >= 4:
        kind, size = struct.unpack("<HH", rest[:4])
        field, rest = rest[4 : 4 + size], rest[4 + size :]
        if kind == _UNICODE_PATH and len(field) > 5 and field[1:5] == struct.pack("<I", zlib.crc32(raw)):
            return field[5:].decode("utf-8", "replace")
    return None


def _require_readable(path: Path, files: list[zipfile.ZipInfo]) -> None:
    encrypted = sum(bool(each.flag_bits & _ENCRYPTED) for each in files)
    if encrypted:
        raise _to_unpack(path, f"{path} is encrypted ({encrypted} of {len(files)} files).")
    other = {each.compress_type for each in files if each.compress_type not in _METHODS}
    if other:
        named = ", ".join(_OTHER_METHODS.get(each, f"method {each}") for each in sorted(other))
        raise _to_unpack(path, f"{path} is compressed by {named}, which cannot be read here.")
