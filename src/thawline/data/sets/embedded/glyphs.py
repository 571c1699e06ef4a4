"""The embedded source: Latin letters, distorted like handwriting and scanned like the digits.

Every picture is a pure function of (seed, letter, index): drawing more of them, or in another order,
changes none. Lengths are in plate pixels, of which a letter's longer edge has 40.
"""

import string
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import distance_transform_edt, map_coordinates

from thawline.config.sections import DataSet, Source
from thawline.data.collection import Collection, Item
from thawline.data.sets.embedded.digits import WHITE_LEVEL, gray_levels

LETTERS = string.ascii_uppercase + string.ascii_lowercase
FONT_FILES = tuple(
    f"{family}{style}.ttf"
    for family, styles in {
        "DejaVuSans": ("", "-Bold", "-Oblique", "-BoldOblique"),
        "DejaVuSansMono": ("", "-Bold", "-Oblique", "-BoldOblique"),
        "DejaVuSerif": ("", "-Bold", "-Italic", "-BoldItalic"),
        "STIXGeneral": ("", "Bol", "Italic", "BolIta"),
    }.items()
    for style in styles
)
"""The text fonts that come with matplotlib; its others lack letters or are for formulas."""

_CELL = 4
"""Bitmap pixels per side of a scanned pixel, whose gray level is the ink counted in 4 x 4 of them."""
_PLATE, _EDGE = 64, 40
"""Side of the square a letter is drawn on, and length of the letter's longer edge."""
_KNOTS = np.linspace(-24, 24, 4)
"""Centres, along each axis, of the Gaussian bumps that the elastic displacement is a sum of."""
_BLOCK = 256


def collect(data: DataSet, seed: int) -> Collection:
    """Draw `glyphs_per_class` pictures of each of the 52 letters, white on black.

    Each is `scan_px` pixels wide and high. A target has neither field: it is drawn as a source is by default.
    """
    source = data if isinstance(data, Source) else Source(dataset=data.dataset)
    indices = range(source.glyphs_per_class)
    images = np.concatenate([draw(letter, indices, source.scan_px, seed) for letter in LETTERS])
    items = tuple(
        Item(f"{_file_name(letter)}/{index:05d}", letter) for letter in LETTERS for index in indices
    )
    return Collection(items, lambda position: Image.fromarray(images[position]))


def draw(letter: str, indices: range, scan_px: int, seed: int) -> np.ndarray:
    """Draw the pictures of `letter` with these indices, `(n, scan_px, scan_px)` uint8 in 17 gray levels."""
    blocks = [indices[start : start + _BLOCK] for start in range(0, len(indices), _BLOCK)]
    styles = [_styles(letter, block, seed) for block in blocks]
    bitmaps = [_bitmaps(_plates(letter, style.font), style, scan_px * _CELL) for style in styles]
    return np.concatenate([_scan(bitmap) for bitmap in bitmaps])


@dataclass(frozen=True)
class _Plates:
    """A letter in each of the f fonts that n pictures of it are written in."""

    distance: np.ndarray
    """(f, 64, 64): distance to the letter's outline, positive inside."""
    height: np.ndarray
    """(f,): the letter's height as a share of a capital's."""
    font: np.ndarray
    """(n,): which of these fonts each picture is written in."""


@dataclass(frozen=True)
class _Styles:
    """The way each of n pictures is written; every field's first axis is n."""

    font: np.ndarray
    """Which of `FONT_FILES`."""
    shape: np.ndarray
    """(n, 2, 2): rotation, slant and aspect ratio, from the paper to the plate."""
    bumps: np.ndarray
    """(n, 2, 4, 4): elastic displacement in y and in x at the knots."""
    stroke: np.ndarray
    """Least width of the thickest stroke."""
    height: np.ndarray
    """Share of the scanned height that a capital fills."""
    place: np.ndarray
    """(n, 2): position in y and in x, from -0.5 to 0.5 of the room there is."""
    contrast: np.ndarray


def _styles(letter: str, indices: range, seed: int) -> _Styles:
    uniform, normal = (
        np.stack(draws) for draws in zip(*(_draws(letter, i, seed) for i in indices), strict=True)
    )

    def between(column: int, low: float, high: float) -> np.ndarray:
        return low + (high - low) * uniform[:, column]

    return _Styles(
        font=(uniform[:, 0] * len(FONT_FILES)).astype(int),
        shape=_shapes(between(1, -0.25, 0.25), between(2, -0.35, 0.35), np.exp(between(3, -0.3, 0.3))),
        bumps=1.6 * normal.reshape(-1, 2, len(_KNOTS), len(_KNOTS)),
        stroke=between(4, 6, 12),
        height=between(5, 0.95, 1.1),
        place=uniform[:, 6:8] - 0.5,
        contrast=between(8, 0.85, 1.05),
    )


def _draws(letter: str, index: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    # The counter, not the order of calls, says which random numbers a picture gets.
    generator = np.random.Generator(np.random.Philox(key=seed, counter=[0, index, ord(letter), 0]))
    return generator.random(9), generator.standard_normal(2 * len(_KNOTS) ** 2)


def _shapes(angle: np.ndarray, slant: np.ndarray, aspect: np.ndarray) -> np.ndarray:
    cosine, sine = np.cos(angle), np.sin(angle)
    rotation = np.stack([cosine, -sine, sine, cosine], -1).reshape(-1, 2, 2)
    one, zero = np.ones_like(slant), np.zeros_like(slant)
    return rotation @ np.stack([one, zero, slant, aspect], -1).reshape(-1, 2, 2)


def _bitmaps(plates: _Plates, styles: _Styles, side: int) -> np.ndarray:
    """Return the ink of each picture in 0..1, `(n, side, side)`: its letter about as large as the paper."""
    # Letters grow to the stroke wanted, never shrink to it: hairlines beside bold strokes would break.
    grow = np.maximum(styles.stroke / 2 - plates.distance.max((1, 2))[plates.font], 0.4)[:, None, None]
    coarse = np.broadcast_to(np.linspace(-_PLATE / 2, _PLATE / 2, 48), (len(grow), 48))
    drawn = _distances(plates, styles, coarse, coarse) + grow > 0
    boxes = [_extent(drawn.any(2), coarse[0]), _extent(drawn.any(1), coarse[0])]
    row_scale = _length(boxes[0]) / (side * styles.height * np.clip(plates.height[plates.font], 0.85, 1))
    column_scale = np.maximum(row_scale, _length(boxes[1]) / (0.75 * side))
    rows = _axis(boxes[0], row_scale, side, styles.place[:, 0])
    columns = _axis(boxes[1], column_scale, side, styles.place[:, 1])
    return (_distances(plates, styles, rows, columns) + grow > 0) * styles.contrast[:, None, None]


def _extent(used: np.ndarray, axis: np.ndarray) -> np.ndarray:
    """Return the first and last used point of `axis` per picture, half a step wider, `(n, 2)`."""
    step = axis[1] - axis[0]
    last = used.shape[1] - 1 - used[:, ::-1].argmax(1)
    return np.stack([axis[used.argmax(1)] - step / 2, axis[last] + step / 2], 1)


def _length(extent: np.ndarray) -> np.ndarray:
    return extent[:, 1] - extent[:, 0]


def _axis(extent: np.ndarray, scale: np.ndarray, side: int, place: np.ndarray) -> np.ndarray:
    """Return where on the plate's axis the `side` bitmap pixels lie, `(n, side)`: the letter's extent
    at `scale` plate pixels each, moved by `place` of the room left beside it, at least a sixteenth."""
    room = np.maximum(side * scale - _length(extent), side / 16 * scale)
    middle = extent.mean(1) + place * room
    return middle[:, None] + scale[:, None] * (np.arange(side) - (side - 1) / 2)


def _distances(plates: _Plates, styles: _Styles, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return the distance to the letter's outline at the paper's points (y, x), each `(n, side)`."""
    bump_y, bump_x = (np.exp(-(((axis[..., None] - _KNOTS) / 14) ** 2)) for axis in (y, x))
    elastic = np.einsum("nyk,nckl,nxl->cnyx", bump_y, styles.bumps, bump_x, optimize=True)
    shape = styles.shape[..., None, None]
    points = [
        shape[:, axis, 0] * y[:, :, None]
        + shape[:, axis, 1] * x[:, None, :]
        + elastic[axis]
        + (_PLATE - 1) / 2
        for axis in (0, 1)
    ]
    font = np.broadcast_to(plates.font[:, None, None], points[0].shape)
    return map_coordinates(plates.distance, [font, *points], order=1, mode="nearest")


def _scan(ink: np.ndarray) -> np.ndarray:
    """Count the ink in cells of 4 x 4, as uint8 gray."""
    count, side = len(ink), ink.shape[1] // _CELL
    cells = ink.reshape(count, side, _CELL, side, _CELL).sum((2, 4))
    return gray_levels(np.clip(np.rint(cells), 0, WHITE_LEVEL))


def _plates(letter: str, fonts: np.ndarray) -> _Plates:
    """Return the letter in those of `fonts` that are used, `(n,)` with one for each picture."""
    used, font = np.unique(fonts, return_inverse=True)
    drawn = [_drawn(letter, FONT_FILES[number]) for number in used]
    distances, heights = zip(*drawn, strict=True)
    return _Plates(np.stack(distances), np.array(heights), font)


@cache
def _font(file_name: str) -> ImageFont.FreeTypeFont:
    import matplotlib

    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / file_name, 2 * _EDGE)


@cache
def _drawn(letter: str, file_name: str) -> tuple[np.ndarray, float]:
    font = _font(file_name)
    left, top, right, bottom = font.getbbox(letter)
    _, capital_top, _, capital_bottom = font.getbbox("H")
    side = round(max(right - left, bottom - top) * _PLATE / _EDGE)
    picture = Image.new("L", (side, side))
    corner = ((side - right - left) / 2, (side - bottom - top) / 2)
    ImageDraw.Draw(picture).text(corner, letter, fill=255, font=font)
    # Twice the plate's resolution, so that the outline is smooth.
    inside = np.asarray(picture.resize((2 * _PLATE, 2 * _PLATE))) > 127
    distance = distance_transform_edt(inside) - distance_transform_edt(~inside)
    height = (bottom - top) / (capital_bottom - capital_top)
    return distance.reshape(_PLATE, 2, _PLATE, 2).mean((1, 3)) / 2, height


def _file_name(letter: str) -> str:
    # Distinct even where "a" and "A" are one file.
    return f"{'upper' if letter.isupper() else 'lower'}_{letter.lower()}"
