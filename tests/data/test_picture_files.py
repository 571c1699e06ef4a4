"""What a file is, is decided by its content; one list of formats, for training and for serving."""

import io
import os
import struct
import warnings
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
from PIL import Image

from thawline.data.content import Content, file_at
from thawline.data.files import open_files
from thawline.data.picture_files import (
    EXTENSIONS,
    FORMATS,
    Unreadable,
    UnreadablePictureError,
    open_picture,
    pictures_in,
)

CAMERA_RAW = (".nef", ".dng", ".cr2", ".arw", ".THM")


def encoded(picture: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    if kind == "HEIF":
        pillow_heif.from_pillow(picture).save(buffer, quality=90)
    else:
        picture.save(buffer, kind, **options)
    return buffer.getvalue()


def refusal(content: Content) -> Unreadable:
    with pytest.raises(UnreadablePictureError) as caught:
        open_picture(content)
    return caught.value.reason


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "AVIF", "HEIF", "MPO"])
@pytest.mark.parametrize("name", ["x", "x.png"])
def test_the_content_decides_the_format(tmp_path, noise, kind, name):
    smooth = noise("x").resize((64, 48))
    (tmp_path / name).write_bytes(encoded(smooth, kind))
    assert pictures_in(open_files(tmp_path)) == [name]
    picture = open_picture(file_at(tmp_path / name))
    assert picture.size == (64, 48)
    difference = np.abs(np.asarray(picture.convert("RGB"), int) - np.asarray(smooth, int))
    assert difference.mean() < 30


def test_each_format_is_known_by_its_beginning(noise):
    for kind, form in zip(
        ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "AVIF", "HEIF"), FORMATS, strict=True
    ):
        head = encoded(noise("x").resize((64, 48)), kind)[:64]
        assert next(each for each in FORMATS if each.begins(head)) is form
    assert len(EXTENSIONS) == len(set(EXTENSIONS))
    assert {".jfif", ".jpe", ".gif", ".avif", ".heic"} <= set(EXTENSIONS)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", Unreadable.empty),
        (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", Unreadable.unknown),
        (b"BMW is no bitmap, whatever its first two letters are", Unreadable.unknown),
        (b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom" + b"\0" * 40, Unreadable.unknown),
        (b"\xff\xd8\xff", Unreadable.damaged),
        (b"GIF89a", Unreadable.damaged),
        (b"II*\0\xff\xff\xff\xff", Unreadable.damaged),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 50, Unreadable.damaged),
    ],
    ids=["empty", "an error page", "text", "a film", "JPEG", "GIF", "TIFF", "PNG"],
)
def test_what_is_no_picture_is_refused_in_our_words(tmp_path, content, reason):
    (tmp_path / "x.jpg").write_bytes(content)
    assert refusal(file_at(tmp_path / "x.jpg")) is reason


def png_with(*chunks: tuple[bytes, bytes], after: bool = False, broken: int = 0) -> bytes:
    """A PNG with further chunks before or after its pixels; `broken` spoils their checksums."""
    whole = encoded(Image.new("RGB", (24, 20), (9, 99, 200)), "PNG")
    place = whole.index(b"IEND") - 4 if after else whole.index(b"IDAT") - 4
    more = b"".join(
        struct.pack(">I", len(content))
        + name
        + content
        + struct.pack(">I", zlib.crc32(name + content) ^ broken)
        for name, content in chunks
    )
    return whole[:place] + more + whole[place:]


METADATA = {
    "a resolution that is cut off": [(b"pHYs", b"abc")],
    "a gamma that is cut off": [(b"gAMA", b"ab")],
    "colours that are cut off": [(b"cHRM", b"ab"), (b"sRGB", b"")],
    "a profile that is none": [(b"iCCP", b"name\0\7junk"), (b"iCCP", b"")],
    "a text that unpacks to 10 MB": [(b"zTXt", b"k\0\0" + zlib.compress(bytes(10**7)))],
    "a text packed in no known way": [(b"zTXt", b"k\0\5abc")],
    "an animation that is cut off": [(b"acTL", b"ab")],
    "EXIF that is none": [(b"eXIf", b"junk")],
}


@pytest.mark.parametrize(
    ("after", "broken"), [(False, 0), (True, 1)], ids=["before the pixels", "after them with wrong checksums"]
)
@pytest.mark.parametrize("chunks", METADATA.values(), ids=METADATA)
def test_metadata_of_a_png_costs_no_picture(tmp_path, decode, chunks, broken, after):
    (tmp_path / "x.png").write_bytes(png_with(*chunks, after=after, broken=broken))
    decoded = decode(tmp_path / "x.png")
    assert decoded.size == (24, 20)
    assert np.asarray(decoded).reshape(-1, 3).tolist() == [[9, 99, 200]] * 480


def test_72_mb_of_text_cost_no_picture(tmp_path, decode):
    (tmp_path / "x.png").write_bytes(png_with(*[(b"tEXt", b"k\0" + b"x" * 900_000)] * 80))
    assert decode(tmp_path / "x.png").size == (24, 20)


def test_more_metadata_than_anybody_has_is_refused(tmp_path, monkeypatch):
    (tmp_path / "x.png").write_bytes(png_with(*[(b"tEXt", b"k\0")] * 10_001))
    assert refusal(file_at(tmp_path / "x.png")) is Unreadable.damaged
    monkeypatch.setattr("thawline.data.decoders._MOST_METADATA", 1000)
    (tmp_path / "x.png").write_bytes(png_with((b"tEXt", b"k\0" + bytes(1000))))
    assert refusal(file_at(tmp_path / "x.png")) is Unreadable.damaged


def test_files_that_cannot_be_reached(tmp_path, monkeypatch):
    assert refusal(file_at(tmp_path / "gone.jpg")) is Unreadable.missing
    assert refusal(file_at(tmp_path)) is Unreadable.no_content

    def denied(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", denied)
    assert refusal(file_at(tmp_path / "locked.jpg")) is Unreadable.forbidden


def test_damaged_members_of_archives(tmp_path, noise):
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("damaged.png", "whole.png"):
            archive.writestr(name, encoded(noise("x"), "PNG"))
    raw = bytearray(path.read_bytes())
    raw[200] ^= 255  # in the content of the first: its checksum no longer holds
    path.write_bytes(raw)
    contents = open_files(path).read
    assert refusal(contents["damaged.png"]) is Unreadable.no_content
    assert open_picture(contents["whole.png"]).size == (24, 20)


def test_a_member_that_would_fill_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr("thawline.data.content.LONGEST", 1000)
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.png", bytes(10**6))
    assert refusal(open_files(tmp_path / "x.zip").read["bomb.png"]) is Unreadable.long


def test_a_pipe_may_be_named(tmp_path, noise):
    reading, writing = os.pipe()
    with os.fdopen(writing, "wb") as file:
        file.write(encoded(noise("x"), "PNG"))
    assert open_picture(file_at(Path(f"/dev/fd/{reading}"))).size == (24, 20)
    os.close(reading)


def test_previews_beside_pictures_are_no_pictures(tmp_path, noise):
    for ending in CAMERA_RAW:
        (tmp_path / f"x{ending}").write_bytes(encoded(noise("x"), "TIFF"))
    assert pictures_in(open_files(tmp_path)) == []


def test_what_is_opened_is_closed(tmp_path, noise):
    noise("x").save(tmp_path / "x.png")
    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        open_picture(file_at(tmp_path / "x.png"))
        (tmp_path / "x.png").write_bytes(b"none")
        refusal(file_at(tmp_path / "x.png"))


@pytest.mark.parametrize("kind", ["TIFF", "GIF", "PNG", "WEBP", "AVIF", "MPO"])
def test_of_several_pictures_in_a_file_the_first_is_read(kind, tmp_path):
    first, *others = (Image.new("RGB", (20, 20), colour) for colour in ("red", "lime", "blue"))
    (tmp_path / "x").write_bytes(encoded(first, kind, save_all=True, append_images=others))
    with open_picture(file_at(tmp_path / "x")) as picture:
        assert np.abs(np.subtract(picture.convert("RGB").getpixel((9, 9)), (255, 0, 0))).max() < 3
