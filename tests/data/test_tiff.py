"""TIFF files of all kinds: the right picture, or a refusal that names what is unusual."""

import io

import numpy as np
import pytest
from PIL import Image
from tests_deep_files import tiff

from thawline.data.decoding import read
from thawline.data.transform import Transform, UnusablePictureError


def array_of(content: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(content)) as picture:
        return read(Transform(8, 8, 3, "squash", "bilinear", (0.5,) * 3, (0.25,) * 3), picture)[0]


def colour(*samples: int, kind: str = "u1") -> np.ndarray:
    return np.broadcast_to(np.array(samples, kind), (8, 8, len(samples)))


@pytest.mark.parametrize("deflate", [False, True])
@pytest.mark.parametrize(
    ("photometric", "samples", "expected"),
    [
        (2, colour(255, 0, 0), (255, 0, 0)),
        (5, colour(0, 255, 255, 0), (255, 0, 0)),
        (5, colour(0, 65535, 65535, 0, kind="u2"), (255, 0, 0)),
        (8, colour(136, 80, 67), (250, 3, 11)),
        (8, colour(136, 176, 67), (0, 154, 0)),  # a* is signed: 176 is -80
        (8, colour(255, 0, 0), (255, 255, 255)),
    ],
    ids=["RGB", "CMYK", "CMYK of 16 bits", "CIELab red", "CIELab green", "CIELab white"],
)
def test_colours_are_what_they_were(deflate, photometric, samples, expected):
    array = array_of(tiff(samples, photometric, deflate=deflate))
    assert np.abs(array.astype(int) - expected).max() <= 3, array[0, 0]


@pytest.mark.parametrize("deflate", [False, True])
def test_ycbcr_that_is_not_subsampled_is_read(deflate):
    samples = np.asarray(Image.new("RGB", (8, 8), (200, 40, 90)).convert("YCbCr"))
    array = array_of(tiff(samples, 6, deflate=deflate, tags={530: (1, 1)}))
    assert np.abs(array.astype(int) - (200, 40, 90)).max() <= 3


def test_ycbcr_that_is_subsampled_but_not_compressed_is_refused():
    content = tiff(colour(120, 90, 200), 6, tags={530: (2, 2), 279: (8 * 8 + 2 * 4 * 4,)})
    with pytest.raises(UnusablePictureError, match="subsampled YCbCr that is not compressed cannot be read"):
        array_of(content)


@pytest.mark.parametrize("scale", [1, 257], ids=["8 bits", "16 bits"])
@pytest.mark.parametrize("deflate", [False, True])
def test_palettes_are_right_in_16_bits_and_in_8_which_many_programs_wrote(scale, deflate):
    palette = np.zeros((3, 256), int)
    palette[:, 7] = 10, 200, 30
    content = tiff(
        np.full((8, 8), 7, np.uint8), 3, deflate=deflate, tags={320: tuple((palette * scale).ravel())}
    )
    assert array_of(content)[0, 0].tolist() == [10, 200, 30]


@pytest.mark.parametrize("deflate", [False, True])
@pytest.mark.parametrize(
    ("photometric", "samples", "extra", "mode"),
    [
        (2, colour(700, 20, 30, kind="u2"), (), "RGB"),
        (2, colour(700, 20, 30, 65535, kind="u2"), (2,), "RGBA"),
        (5, colour(700, 20, 30, 40, kind="u2"), (), "CMYK"),
        (8, colour(136, 80, 67), (), "LAB"),
    ],
)
def test_what_pillow_would_misread_in_separate_planes_is_refused(deflate, photometric, samples, extra, mode):
    content = tiff(samples, photometric, deflate=deflate, planar=True, tags={338: extra})
    with pytest.raises(UnusablePictureError, match=f"a TIFF with its {mode} samples in separate planes"):
        array_of(content)


@pytest.mark.parametrize("deflate", [False, True])
def test_8_bits_of_colour_are_read_in_separate_planes_too(deflate):
    assert array_of(tiff(colour(9, 99, 200), 2, planar=True, deflate=deflate))[0, 0].tolist() == [9, 99, 200]


def test_gray_and_alpha_in_separate_planes_are_refused():
    content = tiff(colour(9, 200), planar=True, deflate=True, tags={338: (2,)})
    with pytest.raises(UnusablePictureError, match="LA samples in separate planes"):
        array_of(content)


def test_other_inks_than_cmyk_are_refused():
    with pytest.raises(UnusablePictureError, match="other inks than CMYK"):
        array_of(tiff(colour(1, 2, 3, 4), 5, tags={332: (2,)}))


@pytest.mark.parametrize("deflate", [False, True])
def test_signed_bytes_are_no_bright_ones(deflate):
    content = tiff(np.full((8, 8), -1, np.int8), deflate=deflate)
    with pytest.raises(UnusablePictureError, match="integers from -1 to -1 have no defined black and white"):
        array_of(content)
