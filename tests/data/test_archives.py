"""Names in archives are read as they were meant, in one form; what cannot be read says what to do."""

import io
import os
import shlex
import struct
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path

import pytest

from thawline.config.errors import UserError
from thawline.config.sections import DataSet, DataSetName
from thawline.data.files import open_files
from thawline.data.sets import image_folder, table

DOS, UNIX = 0, 3


class Stored(zipfile.ZipInfo):
    """A member whose name is stored as these very bytes, and does not say that it is UTF-8."""

    raw = b""

    def _encodeFilenameFlags(self) -> tuple[bytes, int]:  # noqa: N802 - zipfile's name
        return self.raw, self.flag_bits & ~0x800


def stored(raw: bytes, system: int = DOS, extra: bytes = b"") -> Stored:
    info = Stored(raw.hex())
    info.raw, info.create_system, info.extra = raw, system, extra
    return info


def write_zip(path: Path, members: Iterable[zipfile.ZipInfo | str], content: bytes = b"x") -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for member in members:
            archive.writestr(member, content)
    return path


def nfd(name: str) -> bytes:
    return unicodedata.normalize("NFD", name).encode()


@pytest.mark.parametrize(
    ("encoding", "classes"),
    [
        ("gbk", ["苹果", "香蕉", "葡萄"]),
        ("cp437", ["Äpfel", "Möhre"]),
    ],
)
@pytest.mark.parametrize("separator", ["/", "\\"])
def test_a_zip_that_does_not_say_its_encoding(
    tmp_path: Path, encoding: str, classes: list[str], separator: str
) -> None:
    names = [separator.join(["set", name, "1.png"]).encode(encoding) for name in classes]
    files = open_files(write_zip(tmp_path / "x.zip", map(stored, names)))
    assert set(files.read) == {f"set/{name}/1.png" for name in classes}
    assert all(read() == b"x" for read in files.read.values())
    (note,) = files.notes
    assert note.startswith("names in x.zip do not say their encoding and are read as ")
    assert all(name in note for name in classes)


def test_the_utf8_of_macos_that_does_not_say_so(tmp_path: Path) -> None:
    names = ["feuilles/chêne/1.png", "feuilles/érable/1.png", "__MACOSX/feuilles/chêne/._1.png"]
    files = open_files(write_zip(tmp_path / "x.zip", [stored(nfd(name), UNIX) for name in names]))
    assert (list(files.read), files.notes) == (names[:2], [])


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_utf8_that_says_so_is_never_guessed(tmp_path: Path, form: str) -> None:
    names = [unicodedata.normalize(form, f"{name}/1.png") for name in ("é", "è", "oak")]
    files = open_files(write_zip(tmp_path / "x.zip", names))
    assert (list(files.read), files.notes) == (["é/1.png", "è/1.png", "oak/1.png"], [])


def test_the_field_of_info_zip_says_it_too(tmp_path: Path) -> None:
    raw, name = b"??/1.png", "苹果/1.png".encode()
    body = b"\1" + struct.pack("<I", zlib.crc32(raw)) + name
    field = struct.pack("<HH", 0x7075, len(body)) + body
    path = write_zip(tmp_path / "x.zip", [stored(raw, extra=field), stored(b"a" + raw, extra=field)])
    # the second field belongs to another name: it is not believed
    assert list(open_files(path).read) == ["苹果/1.png", "a??/1.png"]


@pytest.mark.parametrize("encoding", ["gbk", "latin-1", "utf-8"])
@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT], ids=["gnu", "ustar"])
def test_a_tar_has_the_bytes_of_the_disk_it_was_made_on(tmp_path: Path, encoding: str, form: int) -> None:
    classes = ["苹果", "香蕉"] if encoding == "gbk" else ["chêne", "érable"]
    with tarfile.open(tmp_path / "x.tar", "w", format=form, encoding=encoding) as archive:
        for name in classes:
            archive.addfile(tarfile.TarInfo(f"{name}/1.png"), io.BytesIO())
    files = open_files(tmp_path / "x.tar")
    assert list(files.read) == [f"{name}/1.png" for name in classes]
    assert len(files.notes) == (encoding != "utf-8")


def test_one_name_in_two_unicode_forms_is_one_name(tmp_path: Path) -> None:
    files = open_files(write_zip(tmp_path / "x.zip", ["é/1.png", unicodedata.normalize("NFD", "é/1.png")]))
    assert list(files.read) == ["é/1.png"]
    assert [picture.reason for picture in files.refused] == [
        "a second member of the archive with the same name"
    ]


def test_labels_and_groups_have_one_unicode_form_from_wherever_they_come(tmp_path: Path) -> None:
    rows = "path,group\n" + "".join(
        f"{name}/{number}.png,{name}\n" for name in ("chêne", "if") for number in "12"
    )
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("chêne", "if"):
            for number in "12":
                archive.writestr(stored(nfd(f"{name}/{number}.png"), UNIX), b"x")
        archive.writestr("groups.csv", rows.encode())
    found = image_folder.collect(DataSet(dataset=DataSetName.image_folder, root=str(path)), 0)
    assert [(item.label, item.group) for item in found.items] == [("chêne", "chêne")] * 2 + [("if", "if")] * 2
    assert found.notes == ()


def test_a_tables_labels_and_groups_have_one_unicode_form(tmp_path: Path) -> None:
    names = ("1.png", "2.png", "3.png")
    for name in names:
        (tmp_path / name).write_bytes(b"x")
    forms = ("NFC", "NFD", "NFC")
    rows = [f"{name},{unicodedata.normalize(form, 'é,é')}" for name, form in zip(names, forms, strict=True)]
    (tmp_path / "labels.csv").write_text("path,label,group\n" + "\n".join(rows) + "\n")
    found = table.collect(DataSet(dataset=DataSetName.table, root=str(tmp_path)), 0)
    assert {(item.label, item.group) for item in found.items} == {("é", "é")}


@pytest.mark.parametrize(("typed", "on_disk"), [("NFC", "NFD"), ("NFD", "NFC"), ("NFC", "NFC")])
def test_a_table_finds_its_files_in_either_unicode_form(tmp_path: Path, typed: str, on_disk: str) -> None:
    for name in ("é/ü.png", "é/i.png"):
        path = tmp_path / unicodedata.normalize(on_disk, name)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
    rows = unicodedata.normalize(typed, "path,label\né/ü.png,a\né/i.png,b\n")
    (tmp_path / "labels.csv").write_text(rows)
    found = table.collect(DataSet(dataset=DataSetName.table, root=str(tmp_path)), 0)
    assert {item.path: item.label for item in found.items} == {"é/i.png": "b", "é/ü.png": "a"}


def test_a_guess_is_said_in_the_notes_of_the_data_set(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "x.zip", [stored(f"{name}/1.png".encode("gbk")) for name in ("苹果", "香蕉")])
    found = image_folder.collect(DataSet(dataset=DataSetName.image_folder, root=str(path)), 0)
    assert [item.label for item in found.items] == ["苹果", "香蕉"]
    assert [note for note in found.notes if "read as gb18030: 苹果, 香蕉" in note]


def patched(path: Path, offset_local: int, offset_central: int, value: int) -> Path:
    """Change two bytes of every header of a zip."""
    content = bytearray(path.read_bytes())
    for magic, offset in ((b"PK\3\4", offset_local), (b"PK\1\2", offset_central)):
        place = content.find(magic)
        while place >= 0:
            content[place + offset : place + offset + 2] = struct.pack("<H", value)
            place = content.find(magic, place + 4)
    path.write_bytes(content)
    return path


def advised(message: str) -> list[str]:
    return shlex.split(message.splitlines()[1].partition(": ")[2])


def test_an_encrypted_zip_is_to_be_unpacked(tmp_path: Path) -> None:
    path = patched(write_zip(tmp_path / "my leaves.zip", ["a/1.png", "b/1.png"]), 6, 8, 1)
    with pytest.raises(UserError, match=r"is encrypted \(2 of 2 files\)") as refused:
        open_files(path)
    assert advised(str(refused.value)) == ["7z", "x", str(path), "-omy leaves"]


@pytest.mark.parametrize(
    ("method", "name"), [(9, "Deflate64"), (93, "Zstandard"), (99, "AES"), (77, "method 77")]
)
def test_a_zip_compressed_as_nobody_here_can_read_is_to_be_unpacked(
    tmp_path: Path, method: int, name: str
) -> None:
    path = patched(write_zip(tmp_path / "x.zip", ["a/1.png"]), 8, 10, method)
    with pytest.raises(UserError, match=f"is compressed by {name}, which cannot be read here"):
        open_files(path)


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_what_the_standard_library_reads_is_read(tmp_path: Path, method: int) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w", method) as archive:
        archive.writestr("a/1.png", b"one")
    assert open_files(tmp_path / "x.zip").read["a/1.png"]() == b"one"


@pytest.mark.parametrize(
    ("name", "start", "kind"),
    [
        ("a.7z", b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
        ("a.zip", b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
        ("a.rar", b"Rar!\x1a\x07\x01\0", "a rar archive"),
        ("a.tar.zst", b"\x28\xb5\x2f\xfd", "a Zstandard archive"),
    ],
)
def test_other_archives_are_to_be_unpacked(tmp_path: Path, name: str, start: bytes, kind: str) -> None:
    (tmp_path / name).write_bytes(start + bytes(100))
    with pytest.raises(UserError, match=f"is {kind}, which cannot be read as it is") as refused:
        open_files(tmp_path / name)
    assert advised(str(refused.value)) == ["7z", "x", str(tmp_path / name), "-oa"]
    assert str(refused.value).endswith("and give the folder: a")


def test_names_that_say_wrongly_that_they_are_utf8(tmp_path: Path) -> None:
    path = patched(write_zip(tmp_path / "x.zip", [stored("é/1.png".encode("cp850"))]), 6, 8, 0x800)
    with pytest.raises(UserError, match="said to be UTF-8 and are not"):
        open_files(path)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.zip")
    with pytest.raises(UserError, match="is neither a folder nor one of"):
        open_files(tmp_path / "x.zip")


def test_a_link_that_leads_nowhere_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.zip").symlink_to("/media/gone.zip")
    with pytest.raises(UserError, match=r"x\.zip is a link to /media/gone\.zip"):
        open_files(tmp_path / "x.zip")
