"""Files that hold pictures: which they are, how they are opened, what they and their classes are called."""

import io
import unicodedata

from PIL import Image

EXTENSIONS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")
"""Tried whatever the extension says; Pillow's other decoders are not for pictures from strangers."""


def is_picture(name: str) -> bool:
    """Return whether a file's name ends like a picture's (`EXTENSIONS`, in any case)."""
    return name.lower().endswith(EXTENSIONS)


def open_picture(content: bytes) -> Image.Image:
    """Open a picture by what is in its file; Pillow's errors are raised for what is none."""
    return Image.open(io.BytesIO(content), formats=_FORMATS)


def shown(name: str) -> str:
    """Return a file's name as text, also where its bytes are not UTF-8."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def class_name(text: str) -> str:
    """Return a class's name as it is stored: one Unicode form, whichever the file system or editor chose."""
    return unicodedata.normalize("NFC", shown(text))
