"""From a file to pixels, one way in training and in serving, whatever the file does to a decoder."""

import ctypes
import logging
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import cache, partial
from typing import TypeVar

import numpy as np
from PIL import Image, ImageFile

from thawline.config.pictures import MAX_MEGAPIXELS
from thawline.data.levels import black_and_white, remark
from thawline.data.orientation import set_upright
from thawline.data.picture_files import Unreadable, UnreadablePictureError, refusing
from thawline.data.reduction import factor_of, load_reduced, memory_needed
from thawline.data.samples import Load, Samples, decode, load
from thawline.data.transform import Transform, to_mode
from thawline.machine import return_freed_memory

Opener = Callable[[], Image.Image]
T = TypeVar("T")


class Decoder:
    """Decodes pictures for a network, from several threads, within a limit of memory for all together.

    max_megapixels: millions of pixels above which a picture is refused. The pictures that are being decoded
    take at most 4.3 bytes for each of these together (860 MB of 200 megapixels): the largest one, and what
    it is reduced to beside it.
    """

    def __init__(self, transform: Transform, max_megapixels: float = MAX_MEGAPIXELS) -> None:
        self.transform = transform
        self.max_megapixels = max_megapixels
        self._room = _Room(int(4.3e6 * max(max_megapixels, MAX_MEGAPIXELS)))

    def read(self, open_it: Opener) -> tuple[np.ndarray, str | None]:
        """Return the picture that `open_it` opens as the network sees it, and what is odd about its values.

        A picture of more than 32 megapixels is read smaller by the whole factor 2, 4 or 8, so that no more
        than 32 remain (`reduction`). Raises `UnreadablePictureError` or `UnusablePictureError`, whatever a
        decoder raises, but for Ctrl-C.
        """
        with self._shown(open_it, read) as found:
            return found

    def stretched(self, open_it: Opener) -> AbstractContextManager[tuple[Image.Image, Samples | None]]:
        """Give the block the whole picture, as `stretched` returns it; its memory is counted until the block
        ends. Large pictures and errors are as in `read`; what is raised in the block passes."""
        return self._shown(open_it, stretched)

    @contextmanager
    def _shown(self, open_it: Opener, show: Callable[[Transform, Image.Image, Load], T]) -> Iterator[T]:
        with refusing(), _quiet:
            picture = open_it()
        with picture:
            with refusing():
                factor, needed = self._measured(picture)
            # and the block: Pillow's cropping fails where another thread lifts the limit meanwhile
            with self._room.taken(needed), _quiet:
                with refusing():
                    shown = show(self.transform, picture, partial(_load, factor=factor))
                yield shown

    def _measured(self, picture: Image.Image) -> tuple[int, int]:
        """Return the factor a picture is reduced by and the bytes that takes, if there can be as many."""
        megapixels = picture.width * picture.height / 1e6
        if megapixels > self.max_megapixels:
            raise UnreadablePictureError(
                Unreadable.large, f"{megapixels:.0f} megapixels, and at most {self.max_megapixels:g} are read"
            )
        factor = factor_of(picture)
        needed = memory_needed(picture, factor)
        if needed > self._room.size:
            raise UnreadablePictureError(
                Unreadable.large,
                f"decoding its {megapixels:.0f} megapixels takes {needed / 1e6:.0f} MB, and at most "
                f"{self._room.size / 1e6:.0f} are taken",
            )
        return factor, needed


def read(transform: Transform, picture: Image.Image, load: Load = load) -> tuple[np.ndarray, str | None]:
    """Return the picture as the network sees it, `(size, size, channels)` uint8, and what is odd about its
    values, or None.

    EXIF orientation is applied, transparency is shown on white, values of more than 8 bits are scaled.
    Raises `UnusablePictureError` for values without a defined black and white, and for slivers.

    load: decodes a picture in place and turns it upright.
    """
    samples = decode(picture, load)
    if samples is None:
        return transform.squared(to_mode(picture, transform.channels)), None
    shown = black_and_white(samples, transform.range)
    pixels = to_mode(samples.shown(*shown), transform.channels)
    return transform.squared(pixels), remark(samples.limits, shown)


def stretched(
    transform: Transform, picture: Image.Image, load: Load = load
) -> tuple[Image.Image, Samples | None]:
    """Return the whole picture, upright, in 8-bit gray or RGB, and the values of one of more than 8 bits,
    which is as bright as it can be: its own lowest value is black and its highest white.

    Raises `UnusablePictureError` for values without a defined black and white.
    """
    samples = decode(picture, load)
    if samples is None:
        return to_mode(picture, transform.channels), None
    black_and_white(samples, transform.range)
    return to_mode(samples.shown(*samples.limits), transform.channels), samples


def _load(picture: Image.Image, parts: bool, factor: int) -> None:
    if isinstance(picture, ImageFile.ImageFile):
        if factor > 1:  # what earlier pictures took may still be kept for later ones
            return_freed_memory()
        load_reduced(picture, factor, parts)
        if factor > 1:
            return_freed_memory()
    set_upright(picture)


class _Room:
    """So many bytes, of which threads take what they need, and wait until others have given back enough."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._left = size
        self._changed = threading.Condition()

    @contextmanager
    def taken(self, count: int) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: count <= self._left)
            self._left -= count
        try:
            yield
        finally:
            with self._changed:
                self._left += count
                self._changed.notify_all()


class _Quiet:
    """While any thread is in the block, Pillow says nothing on the screen, and our limit of size holds in
    place of its own: these are the whole process's, not a thread's."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._undo = ExitStack()

    def __enter__(self) -> None:
        with self._lock:
            self._inside += 1
            if self._inside == 1:
                self._undo.enter_context(warnings.catch_warnings())
                warnings.simplefilter("ignore")
                # not by its level: setting one goes through all loggers there are
                log = logging.getLogger("PIL")
                self._undo.callback(setattr, log, "propagate", log.propagate)
                self._undo.callback(log.removeHandler, _nowhere)
                log.propagate = False
                log.addHandler(_nowhere)
                self._undo.callback(setattr, Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)
                Image.MAX_IMAGE_PIXELS = None
                for name in ("TIFFSetErrorHandler", "TIFFSetWarningHandler"):
                    set_handler = getattr(_libtiff(), name, None)
                    if set_handler is not None:  # else libtiff writes to the error stream, past Python
                        set_handler.argtypes, set_handler.restype = [ctypes.c_void_p], ctypes.c_void_p
                        self._undo.callback(set_handler, set_handler(None))

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._undo.close()


@cache
def _libtiff() -> ctypes.CDLL | None:
    """Return Pillow's library, through which the functions of its libtiff are found (Linux); else None."""
    try:
        return ctypes.CDLL(Image.core.__file__)
    except OSError:
        return None


_nowhere = logging.NullHandler()
_quiet = _Quiet()
