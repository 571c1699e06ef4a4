"""Pictures too large to work with are read smaller, by a whole factor, with as little memory as can be."""

from collections import defaultdict
from collections.abc import Iterator

from PIL import Image, ImageFile, JpegImagePlugin, TiffImagePlugin

from thawline.data.samples import is_deep

WHOLE = 32_000_000
"""Pixels up to which a picture is read as it is."""
READY = 14
"""Bytes a pixel of a picture that is read as it is, with its copies in other modes and as bytes; measured."""
_READY_DEEP = 26
"""The same of a picture of more than 8 bits, with its values."""
FACTORS = (1, 2, 4, 8)
"""By which a JPEG can be decoded smaller."""
_ROWS = 64
"""About so many rows are averaged at once."""
_DECODERS = {"WEBP": 14, "AVIF": 9, "HEIF": 8}
"""Bytes a pixel that a decoder needs besides the picture it makes, measured."""

_BITS_PER_SAMPLE, _SAMPLES_PER_PIXEL, _ROWS_PER_STRIP, _TILE_WIDTH, _TILE_LENGTH = 258, 277, 278, 322, 323


def factor_of(picture: Image.Image) -> int:
    """Return the factor by which both sides of an opened picture are divided: the least of `FACTORS` that
    leaves at most `WHOLE` pixels. It depends on the picture alone, so all that reads it sees the same."""
    pixels = picture.width * picture.height
    return next((factor for factor in FACTORS if pixels <= WHOLE * factor**2), FACTORS[-1])


def memory_needed(picture: Image.Image, factor: int) -> int:
    """Return about how many bytes it takes to decode an opened picture and make a network's input of it."""
    pixels, left = picture.width * picture.height, picture.width * picture.height // factor**2
    decoded = pixels * _bytes_a_pixel(picture)
    extra = pixels * _DECODERS.get(picture.format or "", 0)
    if isinstance(picture, JpegImagePlugin.JpegImageFile):
        decoded = left * _bytes_a_pixel(picture)
        extra = _coefficients(picture) if "progression" in picture.info else 0
    elif isinstance(picture, TiffImagePlugin.TiffImageFile):
        extra = _largest_piece(picture) if picture.use_load_libtiff or len(picture.tile) > 1 else 0
        if factor > 1 and _is_banded(picture):
            decoded = picture.width * 8 * (_rows_at_once(picture) + _ROWS)
    # first the large one and the small one beside it, then the small one's copies
    if is_deep(picture):
        return max(extra + decoded + 8 * left, _READY_DEEP * left)
    return max(extra + decoded + 4 * left, READY * left)


def load_reduced(picture: ImageFile.ImageFile, factor: int, parts: bool = False) -> None:
    """Decode an opened picture with its sides divided by `factor` (rounded up), in place.

    A JPEG is decoded smaller, an uncompressed TIFF strip by strip; others are decoded whole first. Pixels are
    averaged, transparent ones by how much can be seen of them; palettes become RGB or RGBA. `parts`: its
    bytes are parts of larger values, so one pixel of each block is taken instead.
    """
    if factor == 1:
        picture.load()
        return
    if isinstance(picture, JpegImagePlugin.JpegImageFile):
        picture.draft(None, (picture.width // factor, picture.height // factor))
        picture.load()
        return
    small: Image.Image | None = None
    top = 0
    width, height = _stored_size(picture)
    for band in _bands(picture, factor):
        part = _picked(band, factor) if parts else _averaged(band, factor)
        small = small or Image.new(part.mode, (-(-width // factor), -(-height // factor)))
        small.paste(part, (0, top))
        top += part.height
    if small is not None:
        _become(picture, small)


def _become(picture: Image.Image, other: Image.Image) -> None:
    """Give a picture the pixels of another one; its format and tags stay."""
    picture.im, picture._mode, picture._size = other.im, other.mode, other.size
    if other.mode in ("RGB", "RGBA"):
        picture.palette = None
        picture.info.pop("transparency", None)


def _bands(picture: ImageFile.ImageFile, factor: int) -> Iterator[Image.Image]:
    """Yield the picture from top to bottom; all bands but the last have a multiple of `factor` rows."""
    if isinstance(picture, TiffImagePlugin.TiffImageFile) and _is_banded(picture):
        yield from _bands_of_file(picture, factor)
        return
    picture.load()
    width, height = picture.im.size
    picture._size = picture.im.size  # a TIFF gives those of the upright picture
    for top in range(0, height, _ROWS):
        yield picture.crop((0, top, width, min(top + _ROWS, height)))


def _bands_of_file(picture: TiffImagePlugin.TiffImageFile, factor: int) -> Iterator[Image.Image]:
    """Decode an uncompressed TIFF a few strips, or a few rows of tiles, at a time."""
    width, height = picture._tile_size
    by_row: dict[int, list[ImageFile._Tile]] = defaultdict(list)
    for tile in picture.tile:
        if tile.extents:
            by_row[tile.extents[1]].append(tile)
    waiting: list[ImageFile._Tile] = []
    starts, top, file = sorted(by_row), 0, picture.fp
    for start, end in zip(starts, [*starts[1:], height], strict=True):
        waiting += by_row[start]
        if end < height and ((end - top) % factor or end - top < _ROWS):
            continue
        picture.tile = [tile._replace(extents=_moved_up(tile, top)) for tile in waiting]
        picture._im, picture.fp = None, file
        picture._tile_size = picture._size = (width, end - top)
        picture.load()
        yield picture
        waiting, top = [], end


def _moved_up(tile: ImageFile._Tile, rows: int) -> tuple[int, int, int, int]:
    left, top, right, bottom = tile.extents or (0, 0, 0, 0)
    return left, top - rows, right, bottom - rows


def _is_banded(picture: TiffImagePlugin.TiffImageFile) -> bool:
    return not picture.use_load_libtiff and len(picture.tile) > 1


def _rows_at_once(picture: TiffImagePlugin.TiffImageFile) -> int:
    """Return how many rows a band has at most: strips until `factor` divides their rows, or `_ROWS`."""
    return _ROWS + FACTORS[-1] * int(picture.tag_v2.get(_ROWS_PER_STRIP) or picture.tag_v2[_TILE_LENGTH])


def _largest_piece(picture: TiffImagePlugin.TiffImageFile) -> int:
    """Return the bytes of a TIFF's largest strip or tile, which is decoded as one."""
    tags, (width, height) = picture.tag_v2, picture._tile_size
    rows = tags.get(_TILE_LENGTH) or min(tags.get(_ROWS_PER_STRIP, height), height)
    bits = max(tags.get(_BITS_PER_SAMPLE, (1,))) * tags.get(_SAMPLES_PER_PIXEL, 1)
    return tags.get(_TILE_WIDTH, width) * rows * bits // 8


def _picked(band: Image.Image, factor: int) -> Image.Image:
    size = (-(-band.width // factor), -(-band.height // factor))
    return band.resize(size, Image.Resampling.NEAREST)


def _averaged(band: Image.Image, factor: int) -> Image.Image:
    if band.has_transparency_data:
        return band.convert("RGBA").reduce(factor)
    if band.mode.startswith("I;16"):
        return band.convert("I").reduce(factor).convert("I;16")
    return band.convert({"P": "RGB", "1": "L"}.get(band.mode, band.mode)).reduce(factor)


def _stored_size(picture: ImageFile.ImageFile) -> tuple[int, int]:
    return picture._tile_size if isinstance(picture, TiffImagePlugin.TiffImageFile) else picture.size


def _bytes_a_pixel(picture: Image.Image) -> int:
    if picture.mode in ("1", "L", "P"):
        return 1
    return 2 if picture.mode.startswith("I;16") else 4


def _coefficients(picture: JpegImagePlugin.JpegImageFile) -> int:
    """Return the bytes that libjpeg keeps of a progressive JPEG until its last scan is read."""
    layers = [(across, down) for _, across, down, _ in picture.layer]
    largest = max((across for across, _ in layers), default=1) * max((down for _, down in layers), default=1)
    return (
        2 * picture.width * picture.height * sum(across * down for across, down in layers) // max(largest, 1)
    )
