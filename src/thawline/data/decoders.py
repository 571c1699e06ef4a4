"""Pillow's decoders, kept from metadata: what is broken there, or too long, must not cost the picture.

Each opens a picture whose beginning says that it is of that format, decodes nothing yet, and raises whatever
Pillow raises.
"""

import io
import re
import zlib
from collections.abc import Iterator
from contextlib import suppress
from typing import BinaryIO, cast

from PIL import AvifImagePlugin, ImageFile, JpegImagePlugin, PngImagePlugin, TiffImagePlugin

_PIXELS = (b"IHDR", b"PLTE", b"tRNS")
_UPRIGHT = (b"Raw profile type exif\0", b"XML:com.adobe.xmp\0")
"""How the texts in a PNG begin that may say which way is up."""
_TEXTS = (b"eXIf", b"iTXt", b"zTXt", b"tEXt")
_LONGEST_TEXT, _MOST_METADATA, _MOST_CHUNKS = 2**20, 2**27, 10_000
_AVIF_META = 2**16
_AVIF_EXIF = re.compile(rb"(infe[\x02\x03].{3}(?:.{4}|.{6}))Exif", re.DOTALL)
"""The entry in an AVIF's list of items that says that there is EXIF."""


class Jpeg(JpegImagePlugin.JpegImageFile):
    """A JPEG of which no EXIF is read. It may be an MPO: several JPEGs, the first of which is the picture."""

    def _read_dpi_from_exif(self) -> None:
        pass


class Tiff(TiffImagePlugin.TiffImageFile):
    """A TIFF whose other tags are left alone when its pixels were decoded."""

    def load_end(self) -> None:
        self._size = self._tile_size


class _Png(PngImagePlugin.PngImageFile):
    """A PNG whose pixels stay, whatever comes behind them."""

    def load_end(self) -> None:
        with suppress(Exception):
            super().load_end()


def open_png(file: BinaryIO) -> ImageFile.ImageFile:
    """Open a PNG without the chunks before its pixels that say neither what they are nor which way is up."""
    kept = b"".join(_kept_chunks(file))
    left_out = file.tell() - len(kept)
    if left_out > _MOST_METADATA:
        raise SyntaxError("too much metadata")
    if left_out:  # in a chunk of a name that means nothing, so that all that follows stays in its place
        name = b"vOID" + bytes(left_out - 12)
        kept += (left_out - 12).to_bytes(4, "big") + name + zlib.crc32(name).to_bytes(4, "big")
    file.seek(0)
    return _Png(cast(BinaryIO, _Overlaid(file, kept)))


def _kept_chunks(file: BinaryIO) -> Iterator[bytes]:
    """Yield the signature and the chunks that are kept; the file is left where its pixels begin."""
    yield file.read(8)
    for _ in range(_MOST_CHUNKS):
        head = file.read(8)
        length, name = int.from_bytes(head[:4], "big"), head[4:]
        if name == b"IDAT":
            file.seek(-8, io.SEEK_CUR)
            return
        if name in _PIXELS or (name in _TEXTS and length < _LONGEST_TEXT):
            rest = file.read(length + 4)
            if name in _PIXELS or _says_which_way_is_up(name, rest):
                yield head + rest
        elif len(head) == 8:
            file.seek(length + 4, io.SEEK_CUR)
        else:
            break
    raise SyntaxError("no pixels")


def _says_which_way_is_up(name: bytes, rest: bytes) -> bool:
    whole = zlib.crc32(name + rest[:-4]) == int.from_bytes(rest[-4:], "big")
    return whole and (name == b"eXIf" or rest.startswith(_UPRIGHT))


class _Overlaid(io.RawIOBase):
    """A file whose first bytes are others."""

    def __init__(self, file: BinaryIO, first: bytes) -> None:
        self._file, self._first = file, first

    def read(self, size: int = -1) -> bytes:
        place = self._file.tell()
        content = self._file.read(size)
        return self._first[place : place + len(content)] + content[max(len(self._first) - place, 0) :]

    def seek(self, place: int, whence: int = io.SEEK_SET) -> int:
        return self._file.seek(place, whence)

    def tell(self) -> int:
        return self._file.tell()


def open_avif(file: BinaryIO) -> ImageFile.ImageFile:
    """Open an AVIF without its EXIF, which Pillow would read whole; its own box says which way is up."""
    content = file.read()
    meta = _AVIF_EXIF.sub(rb"\1skip", content[:_AVIF_META])
    return AvifImagePlugin.AvifImageFile(io.BytesIO(meta + content[_AVIF_META:]))


def open_heif(file: BinaryIO) -> ImageFile.ImageFile:
    """Open a HEIC; its decoder turns it upright."""
    import pillow_heif  # brings 26 MB of libraries

    return pillow_heif.HeifImageFile(file)
