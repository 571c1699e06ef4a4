"""Which way is up: the one value of a picture's metadata that decides what is seen."""

import re
from collections.abc import Iterator
from typing import Literal

from PIL import Image

_TAG = 0x0112
_METADATA = ("exif", "Raw profile type exif", "XML:com.adobe.xmp", "xmp")
_IN_XMP = re.compile(rb"tiff:Orientation(?:=[\"']|>)([1-8])")
_TO_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ORDERS: dict[bytes, Literal["little", "big"]] = {b"II": "little", b"MM": "big"}
_WIDTHS = {1: 1, 3: 2, 4: 4}
"""Bytes of a value of the types a whole number may have: BYTE, SHORT, LONG."""


def set_upright(picture: Image.Image) -> None:
    """Turn and mirror a decoded picture in place as its metadata says; a second call changes nothing.

    Nothing but the orientation is read, so no other tag, however broken, can cost the picture; what is no
    number from 1 to 8 counts as upright.
    """
    method = _TO_UPRIGHT.get(orientation(picture))
    if method is not None:
        picture.im = picture.im.transpose(method)
        picture._size = picture.im.size
    for key in _METADATA:
        picture.info.pop(key, None)
    if hasattr(picture, "tag_v2"):
        picture.tag_v2.pop(_TAG, None)


def orientation(picture: Image.Image) -> int:
    """Return the orientation of a picture that was opened, 1 (upright) to 8, as the TIFF standard counts.

    It is looked for in a TIFF's own tags, in EXIF, and in XMP; a HEIC was turned by its decoder.
    """
    if picture.format == "HEIF":
        return 1
    for found in _candidates(picture):
        if found in _TO_UPRIGHT or found == 1:
            return found
    return 1


def _candidates(picture: Image.Image) -> Iterator[int]:
    if hasattr(picture, "tag_v2"):
        yield _of_tiff(picture.tag_v2)
    yield read_exif(picture.info.get("exif") or b"")
    yield read_exif(_unfolded(picture.info.get("Raw profile type exif") or ""))
    for key in ("XML:com.adobe.xmp", "xmp"):
        text = picture.info.get(key) or b""
        found = _IN_XMP.search(text.encode(errors="replace") if isinstance(text, str) else text)
        if found:
            yield int(found[1])


def _of_tiff(tags: object) -> int:
    try:
        value = tags[_TAG]  # type: ignore[index]
    except Exception:  # decoded at this moment, by code that raises nearly everything
        return 0
    return value if isinstance(value, int) else 0


def read_exif(exif: bytes) -> int:
    """Return what the first directory of EXIF data says of the orientation; 0 where it says nothing readable.

    exif: a TIFF header and what follows, with or without `Exif` and two zero bytes before it, once or twice.
    """
    while exif.startswith(b"Exif\0\0"):
        exif = exif[6:]
    order = _ORDERS.get(exif[:2])
    if order is None:
        return 0
    start = int.from_bytes(exif[4:8], order)
    entries = exif[start + 2 : start + 2 + 12 * int.from_bytes(exif[start : start + 2], order)]
    for entry in (entries[place : place + 12] for place in range(0, len(entries), 12)):
        width = _WIDTHS.get(int.from_bytes(entry[2:4], order), 0)
        if int.from_bytes(entry[:2], order) == _TAG and len(entry) == 12:
            return int.from_bytes(entry[8 : 8 + width], order)
    return 0


def _unfolded(profile: str) -> bytes:
    """Return the bytes of what ImageMagick writes into a PNG: a name, a length, and lines of digits."""
    try:
        return bytes.fromhex("".join(profile.split("\n")[3:]))
    except ValueError:
        return b""
