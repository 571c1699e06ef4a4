"""Files that hold pictures: which they are, and how they are opened."""

import errno
import io
import logging
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import BinaryIO

from PIL import BmpImagePlugin, GifImagePlugin, ImageFile, WebPImagePlugin

from thawline.data.content import HEAD, LONGEST, Content
from thawline.data.decoders import Jpeg, Tiff, open_avif, open_heif, open_png
from thawline.data.files import Files
from thawline.data.transform import UnusablePictureError

logger = logging.getLogger(__name__)

_BMP_HEADERS = (12, 16, 40, 52, 56, 64, 108, 124)
_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
_AVIF_BRANDS = {b"avif", b"avis"}
RAW = (
    *(".3fr", ".arw", ".cr2", ".cr3", ".dcr", ".dng", ".erf", ".fff", ".iiq", ".kdc", ".mef", ".mos"),
    *(".nef", ".nrw", ".orf", ".pef", ".raf", ".rw2", ".sr2", ".srf", ".srw", ".x3f"),
)
"""What cameras write before it becomes a picture. Many begin as a TIFF does, with a small preview."""
_PREVIEW = ".thm"
"""What cameras write beside a film: a small JPEG."""


class Unreadable(StrEnum):
    """Why a file gives no picture. Decoders' own words are shown to nobody: they change with versions, and
    some name an address in memory."""

    missing = "the file does not exist"
    forbidden = "the file may not be read (permissions)"
    no_content = "the file's content cannot be read from its disk or archive"
    empty = "the file is empty"
    long = "the file is longer than 512 MiB"
    unknown = "the file is no picture (JPEG, PNG, WebP, BMP, TIFF, GIF, AVIF or HEIC)"
    damaged = "the picture is damaged, ends too early or has a form that cannot be decoded"
    large = "the picture is too large"
    memory = "there is not enough memory left to decode the picture"


class UnreadablePictureError(Exception):
    """A file that gives no picture; `reason` says why, and `detail` with what numbers."""

    def __init__(self, reason: Unreadable, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else str(reason))
        self.reason = reason


@dataclass(frozen=True)
class _Format:
    """A format: how its files' names end, how their first `HEAD` bytes look, and who opens one."""

    extensions: tuple[str, ...]
    begins: Callable[[bytes], bool]
    open: Callable[[BinaryIO], ImageFile.ImageFile]
    whole: bool = False
    """Whether it is read into memory as a whole, whatever its size says."""


def _brands(head: bytes) -> set[bytes]:
    """Return what a file of the MPEG family says it can be read as; nothing for other files."""
    if head[4:8] != b"ftyp":
        return set()
    end = min(int.from_bytes(head[:4], "big"), len(head))
    return {head[8:12], *(head[place : place + 4] for place in range(16, end, 4))}


FORMATS = (
    _Format((".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"), lambda head: head.startswith(b"\xff\xd8\xff"), Jpeg),
    _Format(
        (".png", ".apng"),
        lambda head: head.startswith(b"\x89PNG\r\n\x1a\n"),
        open_png,
    ),
    _Format(
        (".webp",),
        lambda head: head[:4] + head[8:12] == b"RIFFWEBP",
        WebPImagePlugin.WebPImageFile,
        whole=True,
    ),
    _Format(
        (".bmp", ".dib"),
        lambda head: head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in _BMP_HEADERS,
        BmpImagePlugin.BmpImageFile,
    ),
    _Format(
        (".tif", ".tiff"),
        lambda head: head.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")),
        Tiff,
    ),
    _Format((".gif",), lambda head: head.startswith((b"GIF87a", b"GIF89a")), GifImagePlugin.GifImageFile),
    _Format(
        (".avif", ".avifs"),
        lambda head: bool(_brands(head) & _AVIF_BRANDS),
        open_avif,
        whole=True,
    ),
    _Format(
        (".heic", ".heif", ".hif"), lambda head: bool(_brands(head) & _HEIF_BRANDS), open_heif, whole=True
    ),
)
"""All that is read, in training and in serving. Other decoders are not for pictures from strangers."""
EXTENSIONS = tuple(extension for each in FORMATS for extension in each.extensions)


def is_picture(name: str, content: Content) -> bool:
    """Return whether a file is taken for a picture: its name ends like one's (`EXTENSIONS`, in any case), or
    it begins like one's. A camera's raw file and what holds a preview alone are none."""
    lower = name.lower()
    if lower.endswith(EXTENSIONS):
        return True
    if lower.endswith((*RAW, _PREVIEW)):
        return False
    try:
        return _format(content.head) is not None
    except Exception:  # an archive's member may be damaged in many ways
        return False


def pictures_in(files: Files) -> list[str]:
    """Return the names of the pictures among files, sorted."""
    return sorted(name for name, content in files.read.items() if is_picture(name, content))


@contextmanager
def refusing() -> Iterator[None]:
    """Turn what decoders raise, which is nearly everything, into a reason in our words."""
    try:
        yield
    except (UnreadablePictureError, UnusablePictureError):
        raise
    except MemoryError:
        raise UnreadablePictureError(Unreadable.memory) from None
    except Exception as error:
        logger.debug("a decoder's own words", exc_info=error)
        raise UnreadablePictureError(Unreadable.damaged) from None


def open_picture(content: Content) -> ImageFile.ImageFile:
    """Open a picture by what is in its file, whatever its name; nothing is decoded yet.

    Raises `UnreadablePictureError`, whatever goes wrong, but for Ctrl-C.
    """
    try:
        file = content.seekable()
    except FileNotFoundError:
        raise UnreadablePictureError(Unreadable.missing) from None
    except PermissionError:
        raise UnreadablePictureError(Unreadable.forbidden) from None
    except MemoryError:
        raise UnreadablePictureError(Unreadable.memory) from None
    except OverflowError:
        raise UnreadablePictureError(Unreadable.long) from None
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise UnreadablePictureError(Unreadable.missing, "its name is too long") from None
        raise UnreadablePictureError(Unreadable.no_content) from None
    except Exception:  # archives raise nearly everything for damaged, encrypted or unknown members
        raise UnreadablePictureError(Unreadable.no_content) from None
    try:
        picture = _opened(file)
    except BaseException:
        file.close()
        raise
    weakref.finalize(picture, file.close)  # Pillow closes what it opened itself, and nothing else
    return picture


def _opened(file: BinaryIO) -> ImageFile.ImageFile:
    try:
        head = file.read(HEAD)
        size = file.seek(0, io.SEEK_END)
        file.seek(0)
    except OSError:
        raise UnreadablePictureError(Unreadable.no_content) from None
    form = _format(head)
    if form is None:
        raise UnreadablePictureError(Unreadable.unknown if head else Unreadable.empty)
    if form.whole and size > LONGEST:
        raise UnreadablePictureError(Unreadable.long)
    with refusing():
        return form.open(file)


def _format(head: bytes) -> _Format | None:
    return next((each for each in FORMATS if each.begins(head)), None)
