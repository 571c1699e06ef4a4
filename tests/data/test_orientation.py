"""Which way is up is read alone: no other tag, however broken, costs the picture."""

import io
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from thawline.data.orientation import orientation, read_exif, set_upright

ARROW = np.zeros((4, 6, 3), np.uint8)
ARROW[0], ARROW[:, 0] = (255, 0, 0), (0, 255, 0)
"""The upright picture: red above, green on the left."""


def exif(*entries: tuple[int, int, int, bytes], after: bytes = b"", order: str = "<") -> bytes:
    """EXIF data with these tags, each with its type, count and four bytes."""
    body = b"".join(struct.pack(order + "HHI", *head) + value for *head, value in entries)
    mark = {"<": b"II*\0\x08\0\0\0", ">": b"MM\0*\0\0\0\x08"}[order]
    return b"Exif\0\0" + mark + struct.pack(order + "H", len(entries)) + body + bytes(4) + after


def tag(value: int, order: str = "<") -> tuple[int, int, int, bytes]:
    return 0x0112, 3, 1, struct.pack(order + "HH", value, 0)


OFFSET = 8 + 2 + 12 * 2 + 4
BROKEN = {
    "a rational of -1 / 0": (exif(tag(6), (0x011A, 10, 1, struct.pack("<I", OFFSET)), after=b"\xff" * 8), 6),
    "a rational of 1 / 0": (exif(tag(6), (0x011A, 5, 1, struct.pack("<I", OFFSET)), after=bytes(8)), 6),
    "a pointer out of the data": (exif(tag(6), (0x8769, 4, 1, struct.pack("<I", 9999))), 6),
    "a pointer to itself": (exif(tag(6), (0x8769, 4, 1, struct.pack("<I", 8))), 6),
    "a value of 2 GiB": (exif(tag(6), (0x9286, 7, 2**31, bytes(4))), 6),
    "an unknown type": (exif((0x0100, 99, 1, bytes(4)), tag(6)), 6),
    "its header twice": (b"Exif\0\0" + exif(tag(6)), 6),
    "the other order of bytes": (exif(tag(6, ">"), order=">"), 6),
    "a long number": (exif((0x0112, 4, 1, struct.pack("<I", 8))), 8),
    "a text": (exif((0x0112, 2, 4, b"abc\0")), 1),
    "77": (exif(tag(77)), 1),
    "0": (exif(tag(0)), 1),
    "cut off in the header": (exif(tag(6))[:11], 1),
    "cut off in the tag": (exif(tag(6))[:20], 1),
    "nothing": (b"", 1),
}


def jpeg_with(data: bytes) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(ARROW).save(buffer, "JPEG")
    raw = buffer.getvalue()
    return raw[:2] + b"\xff\xe1" + struct.pack(">H", len(data) + 2) + data + raw[2:]


@pytest.mark.parametrize(("data", "expected"), BROKEN.values(), ids=BROKEN)
def test_broken_metadata_costs_neither_the_picture_nor_the_orientation(tmp_path, decode, data, expected):
    (tmp_path / "x.jpg").write_bytes(jpeg_with(data))
    assert decode(tmp_path / "x.jpg").size == ((4, 6) if expected > 4 else (6, 4))


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        *((value, "PNG") for value in range(1, 9)),
        *(
            (value, kind)
            for kind in ("TIFF", "TIFF compressed", "WEBP", "AVIF", "XMP", "text")
            for value in (3, 6)
        ),
    ],
)
def test_every_orientation_in_every_place_it_is_written(tmp_path, decode, value, kind):
    turns = {2: 0, 3: 1, 4: 2, 5: 3, 6: 4, 7: 5, 8: 6}
    upright = Image.fromarray(ARROW.repeat(16, 0).repeat(16, 1))
    back = {6: 8, 8: 6}.get(value, value)  # the others undo themselves
    methods = [
        Image.Transpose.FLIP_LEFT_RIGHT,
        Image.Transpose.ROTATE_180,
        Image.Transpose.FLIP_TOP_BOTTOM,
        Image.Transpose.TRANSPOSE,
        Image.Transpose.ROTATE_270,
        Image.Transpose.TRANSVERSE,
        Image.Transpose.ROTATE_90,
    ]
    stored = upright if value == 1 else upright.transpose(methods[turns[back]])
    options: dict[str, object] = {"exif": exif(tag(value))}
    if kind == "TIFF compressed":
        options["compression"] = "tiff_lzw"
    elif kind in ("XMP", "text"):
        info = PngImagePlugin.PngInfo()
        if kind == "XMP":
            info.add_itxt("XML:com.adobe.xmp", f'<x tiff:Orientation="{value}"/>')
        else:
            data = exif(tag(value))
            info.add_text("Raw profile type exif", f"\nexif\n{len(data):8}\n{data.hex()}\n")
        options = {"pnginfo": info}
    form = {"TIFF compressed": "TIFF", "XMP": "PNG", "text": "PNG"}.get(kind, kind)
    if form in ("WEBP", "AVIF"):
        options["quality"] = 100
    stored.save(tmp_path / "x", form, **options)
    decoded = decode(tmp_path / "x")
    assert decoded.size == upright.size
    assert np.abs(np.asarray(decoded, int) - np.asarray(upright, int)).mean() < 12


def test_broken_exif_of_an_avif_costs_nothing(tmp_path, decode):
    upright = Image.fromarray(ARROW.repeat(16, 0).repeat(16, 1))
    upright.save(tmp_path / "x.avif", exif=exif(tag(6), (0x0131, 2, 4, b"abc\0")))
    whole = (tmp_path / "x.avif").read_bytes()
    assert whole.count(b"II*\0") == 1
    (tmp_path / "x.avif").write_bytes(whole.replace(b"II*\0", b"??*\0"))
    assert decode(tmp_path / "x.avif").size == (64, 96)


def test_a_second_call_turns_nothing():
    picture = Image.fromarray(ARROW)
    picture.info["exif"] = exif(tag(6))
    set_upright(picture)
    assert picture.size == (4, 6)
    set_upright(picture)
    assert (picture.size, orientation(picture)) == ((4, 6), 1)


@given(st.binary(max_size=80), st.sampled_from([b"", b"Exif\0\0II*\0", b"MM\0*\0\0\0\x08"]))
def test_no_bytes_are_an_error(data, start):
    assert read_exif(start + data) >= 0
