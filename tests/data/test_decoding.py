"""One way to decode: a picture upright, or a reason in our words, whatever a decoder raises."""

import io
import logging
import struct
import threading
import time
import warnings
import zlib
from contextlib import ExitStack

import numpy as np
import pytest
from PIL import Image, ImageFile

from thawline.data import decoding, reduction
from thawline.data.content import file_at
from thawline.data.decoding import Decoder
from thawline.data.picture_files import Unreadable, UnreadablePictureError, open_picture
from thawline.data.transform import UnusablePictureError


@pytest.mark.parametrize(
    ("raised", "reason"),
    [
        (MemoryError(), Unreadable.memory),
        (RecursionError(), Unreadable.damaged),
        (struct.error("unpack requires a buffer of 2 bytes"), Unreadable.damaged),
        (AssertionError("at 0x7f00"), Unreadable.damaged),
        (OSError("<_io.BytesIO object at 0x7f00>"), Unreadable.damaged),
        (OverflowError(), Unreadable.damaged),
        (Image.DecompressionBombError("could be decompression bomb DOS attack"), Unreadable.damaged),
        (UserWarning(), Unreadable.damaged),
    ],
)
@pytest.mark.parametrize("when", ["_open", "load"])
def test_whatever_a_decoder_raises_ends_only_its_picture(
    tmp_path, noise, monkeypatch, raised, reason, when, transform
):
    noise("x").save(tmp_path / "x.gif")

    def broken(*_):
        raise raised

    monkeypatch.setattr("PIL.GifImagePlugin.GifImageFile." + when, broken)
    with (
        pytest.raises(UnreadablePictureError) as caught,
        Decoder(transform).stretched(lambda: open_picture(file_at(tmp_path / "x.gif"))),
    ):
        pass
    assert str(caught.value) == str(reason)


@pytest.mark.parametrize("raised", [KeyboardInterrupt, SystemExit])
def test_ctrl_c_still_ends_everything(transform, raised):
    def interrupted():
        raise raised

    with pytest.raises(raised), Decoder(transform).stretched(interrupted):
        pass


def test_what_is_raised_outside_the_decoder_passes(transform, noise):
    with pytest.raises(ZeroDivisionError), Decoder(transform).stretched(lambda: noise("x")):
        raise ZeroDivisionError
    with (
        pytest.raises(UnusablePictureError),
        Decoder(transform).stretched(lambda: Image.new("F", (4, 4), 9.0)),
    ):
        pass


def test_memory_is_given_back_and_waited_for(transform, noise, monkeypatch):
    monkeypatch.setattr(decoding, "memory_needed", lambda *_: 300_000_000)
    decoder, inside, most, lock = Decoder(transform), [0], [0], threading.Lock()

    def use():
        with decoder.stretched(lambda: noise("x")):
            with lock:
                inside[0] += 1
                most[0] = max(most[0], inside[0])
            time.sleep(0.02)
            with lock:
                inside[0] -= 1

    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert most == [2]  # of 860 MB


def test_a_picture_above_the_limit_is_refused_with_numbers(tmp_path, transform, noise):
    noise("x").resize((2000, 1500)).save(tmp_path / "x.bmp")
    for limit, message in ((2.9, "3 megapixels, and at most 2.9 are read"), (3, None)):
        with ExitStack() as stack:
            if message:
                stack.enter_context(pytest.raises(UnreadablePictureError, match=message))
            stack.enter_context(
                Decoder(transform, limit).stretched(lambda: open_picture(file_at(tmp_path / "x.bmp")))
            )


def test_a_small_file_that_says_it_is_huge(tmp_path, transform, noise):
    buffer = io.BytesIO()
    noise("x").save(buffer, "BMP")
    raw = bytearray(buffer.getvalue())
    raw[18:26] = struct.pack("<ii", 60000, 60000)
    (tmp_path / "x.bmp").write_bytes(raw)
    with (
        pytest.raises(UnreadablePictureError, match="3600 megapixels, and at most 200 are read"),
        Decoder(transform).stretched(lambda: open_picture(file_at(tmp_path / "x.bmp"))),
    ):
        pass


def test_nothing_is_said_on_the_screen_and_all_is_put_back(transform, noise, caplog):
    log = logging.getLogger("PIL")

    def told() -> list[object]:
        return [Image.MAX_IMAGE_PIXELS, log.level, log.propagate, *log.handlers, *warnings.filters]

    before = told()

    def chatty():
        warnings.warn("could be decompression bomb DOS attack", Image.DecompressionBombWarning, stacklevel=1)
        logging.getLogger("PIL.TiffImagePlugin").error("More samples per pixel than can be decoded")
        assert Image.MAX_IMAGE_PIXELS is None
        return noise("x")

    with Decoder(transform).stretched(chatty) as (pixels, _):
        assert pixels.size == (24, 20)
        assert Image.MAX_IMAGE_PIXELS is None  # cropping looks at it twice, and may not find None in between
    assert caplog.records == []
    assert told() == before


@pytest.mark.parametrize(
    "kind", ["PNG", "TIFF", "BMP", "GIF", "WEBP", "JPEG", "JPEG progressive", "TIFF strips"]
)
def test_large_pictures_are_read_smaller_alike(tmp_path, transform, noise, monkeypatch, kind):
    monkeypatch.setattr(reduction, "WHOLE", 10_000)
    picture = noise("x").resize((403, 301), Image.Resampling.BICUBIC)
    save(picture, tmp_path / "x", kind)
    with Decoder(transform).stretched(lambda: open_picture(file_at(tmp_path / "x"))) as (pixels, _):
        assert pixels.size == (101, 76)
        with Image.open(tmp_path / "x") as whole:
            expected = np.asarray(whole.convert("RGB").reduce(4), int)
        assert np.abs(np.asarray(pixels, int) - expected).mean() < (4 if kind.startswith("JPEG") else 1)


def save(picture: Image.Image, path, kind: str) -> None:
    if kind == "TIFF strips":
        write_strips(path, np.asarray(picture), rows=7)
    else:
        picture.save(path, kind.split()[0], progressive="progressive" in kind)


def write_strips(path, pixels: np.ndarray, rows: int) -> None:
    """An uncompressed RGB TIFF in strips of so many rows."""
    height, width, _ = pixels.shape
    strips = [pixels[top : top + rows].tobytes() for top in range(0, height, rows)]
    start = 8 + 2 + 12 * 9 + 4
    bits, offsets = start, start + 6
    sizes = offsets + 4 * len(strips)
    places = sizes + 4 * len(strips) + np.cumsum([0, *(len(each) for each in strips)])[:-1]
    entries = [
        (256, 4, 1, width),
        (257, 4, 1, height),
        (258, 3, 3, bits),
        (259, 3, 1, 1),
        (262, 3, 1, 2),
        (273, 4, len(strips), offsets),
        (277, 3, 1, 3),
        (278, 4, 1, rows),
        (279, 4, len(strips), sizes),
    ]
    with path.open("wb") as file:
        file.write(b"II*\0\x08\0\0\0" + struct.pack("<H", len(entries)))
        file.writelines(struct.pack("<HHII", *entry) for entry in entries)
        file.write(bytes(4) + struct.pack("<3H", 8, 8, 8))
        file.write(np.array(places, "<u4").tobytes() + np.array([len(s) for s in strips], "<u4").tobytes())
        file.writelines(strips)


@pytest.mark.parametrize("kind", ["transparent palette", "palette", "1", "I;16", "LA", "F", "I;16B strips"])
def test_every_mode_can_be_read_smaller(tmp_path, transform, noise, monkeypatch, kind):
    """The gray values stay those of the whole picture."""
    monkeypatch.setattr(reduction, "WHOLE", 10_000)
    gray = np.linspace(0, 1, 300 * 400).reshape(300, 400)
    eight = Image.fromarray((gray * 255).astype(np.uint8))
    pictures = {
        "transparent palette": lambda: eight.convert("P"),
        "palette": lambda: eight.convert("P"),
        "1": lambda: eight.convert("1"),
        "I;16": lambda: Image.fromarray((gray * 65535).astype(np.uint16)),
        "LA": lambda: eight.convert("LA"),
        "F": lambda: Image.fromarray(gray.astype(np.float32)),
        "I;16B strips": lambda: Image.fromarray((gray * 65535).astype(">u2")),
    }
    options = {"transparency": 0} if kind == "transparent palette" else {}
    form = "TIFF" if kind in ("F", "I;16B strips") else "PNG"
    pictures[kind]().save(tmp_path / "x", form, **options)
    with Decoder(transform).stretched(lambda: open_picture(file_at(tmp_path / "x"))) as (pixels, _):
        assert pixels.size == (100, 75)
        expected = np.asarray(eight.convert("RGB").reduce(4), int)
        inside = slice(8, None)  # the first gray is transparent
        difference = np.abs(np.asarray(pixels, int) - expected)[inside]
        assert difference.mean() < (20 if kind == "1" else 2)


def test_a_reduced_tiff_is_upright(tmp_path, transform, noise, monkeypatch):
    monkeypatch.setattr(reduction, "WHOLE", 10_000)
    noise("x").resize((400, 300)).save(tmp_path / "x", "TIFF", exif={0x0112: 6})
    with Decoder(transform).stretched(lambda: open_picture(file_at(tmp_path / "x"))) as (pixels, _):
        assert pixels.size == (75, 100)


def test_pictures_up_to_32_megapixels_are_whole():
    sizes = [(8000, 4000, 1), (8000, 4001, 2), (12000, 9000, 2), (16000, 12500, 4), (40000, 20000, 8)]
    for width, height, factor in sizes:
        picture = Image.new("1", (1, 1))
        picture._size = (width, height)
        assert reduction.factor_of(picture) == factor


def test_a_decoder_that_needs_more_than_there_is_room_for(tmp_path, transform, noise, monkeypatch):
    monkeypatch.setattr(reduction, "_DECODERS", {"WEBP": 10**6})
    noise("x").resize((64, 64)).save(tmp_path / "x.webp")
    with (
        pytest.raises(UnreadablePictureError, match=r"takes 4096 MB, and at most 860 are taken"),
        Decoder(transform).stretched(lambda: open_picture(file_at(tmp_path / "x.webp"))),
    ):
        pass


def test_pillow_is_never_told_to_guess_what_is_missing():
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False


def write_colours_of_16_bits(path, values: np.ndarray) -> None:
    """A PNG with the two bytes of each value as they are, without filters."""
    height, width, _ = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows)),
    ]
    text = b"\x89PNG\r\n\x1a\n"
    for name, content in [*chunks, (b"IEND", b"")]:
        checksum = zlib.crc32(name + content)
        text += struct.pack(">I", len(content)) + name + content + struct.pack(">I", checksum)
    path.write_bytes(text)


def test_colours_of_two_bytes_are_read_smaller_without_mixing_their_bytes(tmp_path, transform, monkeypatch):
    monkeypatch.setattr(reduction, "WHOLE", 10_000)
    levels = np.random.default_rng(0).integers(0, 4096, (160, 240, 3)).astype(np.uint16)
    write_colours_of_16_bits(tmp_path / "x.png", levels)
    with Decoder(transform).stretched(lambda: open_picture(file_at(tmp_path / "x.png"))) as (_, samples):
        assert samples is not None
        found = np.asarray(samples.values)
    assert found.shape == (80, 120, 3)
    # every value is one of those in its block of two by two pixels
    blocks = levels.reshape(80, 2, 120, 2, 3)
    assert (found[:, None, :, None] == blocks).all(-1).any((1, 3)).all()


def test_a_lower_limit_refuses_no_picture_below_it(tmp_path, transform, noise):
    path = tmp_path / "x.png"
    write_colours_of_16_bits(path, np.zeros((20, 1000, 3), np.uint16))
    with Decoder(transform, 0.03).stretched(lambda: open_picture(file_at(path))) as (pixels, _):
        assert pixels.size == (1000, 20)


@pytest.mark.parametrize("kind", ["WEBP", "AVIF"])
def test_what_is_read_as_a_whole_may_not_be_longer_than_fits(tmp_path, transform, noise, monkeypatch, kind):
    noise("x").save(tmp_path / "x", kind)
    monkeypatch.setattr("thawline.data.picture_files.LONGEST", 100)
    with pytest.raises(UnreadablePictureError) as caught:
        Decoder(transform).read(lambda: open_picture(file_at(tmp_path / "x")))
    assert caught.value.reason is Unreadable.long
