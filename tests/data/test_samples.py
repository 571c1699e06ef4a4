"""Values of more than 8 bits, and signed ones, are those in the file, however it holds them."""

import io
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from tests_deep_files import png16, tiff

from thawline.data import decoding
from thawline.data.samples import Samples, decode, load
from thawline.data.transform import Transform

WHITE = {"u2": 1023, "i2": 1000, "i4": 70000, "i1": 127, "f4": 1}


def read(content: bytes) -> Samples | None:
    with Image.open(io.BytesIO(content)) as picture:
        return decode(picture, load)


def values(kind: str, shape: tuple[int, ...] = (5, 7)) -> np.ndarray:
    """Noise from -WHITE (0 where unsigned) to WHITE, both of which are in it."""
    white = WHITE[kind]
    black = 0 if kind[0] == "u" else -white
    noise = np.random.default_rng(0).random(shape)
    noise.flat[:2] = 0, 1
    return (black + noise * (white - black)).astype(kind)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("deflate", [False, True])
@pytest.mark.parametrize("kind", WHITE)
def test_a_tiff_has_the_values_that_were_written(order, deflate, kind):
    written = values(kind)
    found = read(tiff(written, order=order, deflate=deflate))
    np.testing.assert_array_equal(found.values, written)
    assert (found.integers, found.alpha, found.white_is_zero) == (kind != "f4", None, False)


@pytest.mark.parametrize("deflate", [False, True])
def test_unsigned_integers_of_32_bits_are_not_taken_for_negative_ones(deflate):
    written = np.array([[0, 2**31, 2**32 - 1]], np.uint32)
    assert read(tiff(written, deflate=deflate)).values.tolist() == written.tolist()


@pytest.mark.parametrize("deflate", [False, True])
@pytest.mark.parametrize("kind", ["u2", "f4"])
def test_where_white_is_zero_the_lowest_value_is_the_brightest(deflate, kind):
    written = values(kind)
    found = read(tiff(written, 0, deflate=deflate))
    np.testing.assert_array_equal(found.values, written)
    dark, bright = (found.shown(*found.limits).getpixel((place, 0)) for place in (1, 0))
    assert (dark, bright) == (0, 255)


def test_8_and_16_bits_agree_about_which_end_is_white():
    eight = values("u2").astype(np.uint8)
    transform = Transform(5, 5, 1, "squash", "bilinear", (0.5,), (0.25,), range=(0, 1023))
    for photometric in (0, 1):
        arrays = [
            decoding.read(transform, Image.open(io.BytesIO(tiff(levels, photometric))))[0]
            for levels in (eight, np.rint(eight * (1023 / 255)).astype(np.uint16))
        ]
        np.testing.assert_array_equal(*arrays)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("deflate", [False, True])
@pytest.mark.parametrize("extra", [(), (0,), (2,)], ids=["RGB", "RGB and more", "RGBA"])
def test_colours_of_a_tiff_have_16_bits(order, deflate, extra):
    written = values("u2", (5, 7, 3 + len(extra)))
    if extra == (2,):
        written[..., 3] = 65535
    found = read(tiff(written, 2, order=order, deflate=deflate, tags={338: extra}))
    np.testing.assert_array_equal(found.values, written[..., :3])
    assert (found.alpha is None) == (extra != (2,))


@given(samples=st.sampled_from([1, 2, 3, 4]), seed=st.integers(0, 9))
def test_a_png_has_16_bits_in_gray_and_in_colour(samples, seed):
    written = np.random.default_rng(seed).integers(0, 65536, (4, 6, samples), np.uint16)
    found = read(png16(written))
    colours = written if samples % 2 else written[..., :-1]
    np.testing.assert_array_equal(found.values, colours[..., 0] if samples < 3 else colours)
    if samples % 2:
        assert found.alpha is None
    else:
        np.testing.assert_array_equal(found.alpha, written[..., -1] >> 8)


@pytest.mark.parametrize("samples", [1, 3])
def test_the_colour_that_a_png_calls_transparent_is_white_and_no_value(samples):
    written = np.full((2, 2, samples), 500, np.uint16)
    written[0, 0] = 60000
    key = np.full(samples, 60000, ">u2").tobytes()
    found = read(png16(written, chunks=((b"tRNS", key),)))
    assert found.limits == (500, 500)
    assert found.alpha.tolist() == [[0, 255], [255, 255]]
    transform = Transform(2, 2, 1, "squash", "bilinear", (0.5,), (0.25,), range=(0, 1000))
    with Image.open(io.BytesIO(png16(written, chunks=((b"tRNS", key),)))) as picture:
        assert decoding.read(transform, picture)[0][..., 0].tolist() == [[255, 128], [128, 128]]


def test_what_cannot_be_seen_has_no_part_in_the_limits():
    written = np.full((2, 2, 4), 700, np.uint16)
    written[0, 0] = (65535, 65535, 65535, 0)
    assert read(png16(written)).limits == (700, 700)
    assert read(png16(written * 0)).limits == (0, 0)


def test_10_bits_in_colour_are_as_bright_as_8():
    eight = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    ten = np.rint(eight * (1023 / 255)).astype(np.uint16)
    transform = Transform(8, 8, 3, "squash", "bilinear", (0.5,) * 3, (0.25,) * 3)
    for content in (png16(ten), tiff(ten, 2), tiff(ten, 2, deflate=True)):
        with Image.open(io.BytesIO(content)) as picture:
            seen, _ = decoding.read(replace(transform, range=(0, 1023)), picture)
            np.testing.assert_array_equal(seen, eight)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "CMYK"])
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_8_bits_are_left_to_pillow(mode, kind):
    if (mode, kind) == ("CMYK", "PNG"):
        kind = "JPEG"
    buffer = io.BytesIO()
    Image.new(mode, (4, 4)).save(buffer, kind)
    assert read(buffer.getvalue()) is None


def test_a_large_picture_is_made_floats_a_few_rows_at_a_time(monkeypatch):
    ramp = np.arange(4096, dtype=np.uint16).reshape(64, 64)
    at_once = np.asarray(Samples(ramp).shown(0, 4095))
    monkeypatch.setattr("thawline.data.samples._BLOCK", 100)
    np.testing.assert_array_equal(Samples(ramp).shown(0, 4095), at_once)
    np.testing.assert_array_equal(at_once, np.rint(ramp / 4095 * 255))
