"""Every picture, whatever its mode, size and orientation, becomes the array a person would expect."""

import io
import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from thawline.config.errors import FieldError
from thawline.config.sections import Fit, Input
from thawline.data.decoding import read, stretched
from thawline.data.transform import Transform, UnusablePictureError, transform_of

RED, GREEN = (255, 0, 0), (0, 255, 0)


def make(size: int = 8, channels: int = 3, fit: str = "squash", resize: int | None = None) -> Transform:
    return Transform(size, resize or size, channels, fit, "bilinear", (0.5,) * channels, (0.25,) * channels)


def saved(picture: Image.Image, kind: str, **options: object) -> Image.Image:
    """What is read back after saving."""
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return Image.open(buffer)


def constant(mode: str, value: object) -> Image.Image:
    return Image.new(mode, (8, 8), value)


@given(
    mode=st.sampled_from(
        ["1", "L", "P", "RGB", "RGBA", "LA", "La", "RGBa", "CMYK", "YCbCr", "HSV", "I;16", "F"]
    ),
    width=st.integers(1, 40),
    height=st.integers(1, 40),
    channels=st.sampled_from([1, 3]),
    fit=st.sampled_from([fit.name for fit in Fit]),
)
def test_any_mode_and_size_gives_the_same_shape(mode, width, height, channels, fit):
    array = read(make(7, channels, fit, resize=9), Image.new(mode, (width, height)))[0]
    assert array.shape == (7, 7, channels)
    assert array.dtype == np.uint8


@given(width=st.integers(2, 90), height=st.integers(2, 90), resize=st.integers(16, 40))
def test_crop_is_what_torchvision_does(width, height, resize):
    from torchvision.transforms import v2

    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    theirs = v2.Compose([v2.Resize(resize), v2.CenterCrop(16)])(Image.fromarray(noise))
    np.testing.assert_array_equal(
        read(make(16, fit="crop", resize=resize), Image.fromarray(noise))[0], np.asarray(theirs)
    )


def test_16_bit_pictures_keep_their_gray_levels():
    ramp = np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8)
    picture = saved(Image.fromarray(ramp), "PNG")
    assert picture.mode.startswith("I")
    np.testing.assert_array_equal(read(make(channels=1), picture)[0][..., 0], np.rint(ramp / 257))


def test_32_bit_integers_in_the_16_bit_range_are_16_bit():
    assert read(make(), constant("I", 65535))[0].min() == 255


@pytest.mark.parametrize("value", [70000, -1])
def test_integers_without_a_defined_white_are_refused(value):
    with pytest.raises(UnusablePictureError, match=f"integers from {value} to {value} have no defined black"):
        read(make(), constant("I", value))[0]


def test_floats_run_from_0_to_1():
    assert (read(make(), constant("F", 0.5))[0] == 128).all()


@pytest.mark.parametrize("value", [2.0, -0.5])
def test_other_floats_are_refused(value):
    with pytest.raises(
        UnusablePictureError, match=rf"floats from {value:g} to {value:g} have no defined black"
    ):
        read(make(), constant("F", value))[0]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("given", [None, (-1, 1)])
def test_floats_that_are_no_numbers_are_refused(value, given):
    with pytest.raises(UnusablePictureError, match="some of its floats are no numbers"):
        read(replace(make(), range=given), constant("F", value))[0]


@pytest.mark.parametrize("mode", ["I", "F"])
def test_a_range_says_what_is_black_and_white_and_cuts_off_what_lies_outside(mode):
    hounsfield = Image.new(mode, (4, 1))
    for place, value in enumerate((-1024, -1000, 0, 3000)):
        hounsfield.putpixel((place, 0), value)
    array = read(replace(make(4, channels=1), range=(-1000, 1000)), hounsfield.resize((4, 4), 0))[0]
    assert array[0, :, 0].tolist() == [0, 0, 128, 255]


def test_a_range_is_not_for_8_bits():
    gray = constant("L", 100)
    assert (read(replace(make(), range=(0, 200)), gray)[0] == 100).all()


def test_what_is_read_comes_with_what_is_odd_about_it():
    ten_bits = replace(make(), range=(0, 1023))
    assert read(ten_bits, constant("L", 3))[1] is None
    assert read(ten_bits, constant("I;16", 64))[1] == "values fill little of 0 to 1023, black and white"
    ramp = Image.fromarray(np.linspace(0, 1023, 64).astype(np.uint16).reshape(8, 8))
    assert read(ten_bits, ramp)[1] is None
    odd = read(replace(make(), range=(0, 255)), ramp)[1]
    assert odd == "values outside 0 to 255, black and white, are cut off"
    assert read(make(), ramp)[1] == "values fill little of 0 to 65535, black and white"


def test_to_be_compared_a_picture_is_as_bright_as_it_can_be():
    ramp = np.linspace(0, 1023, 64).astype(np.uint16).reshape(8, 8)
    pixels, samples = stretched(make(channels=1), Image.fromarray(ramp))
    np.testing.assert_array_equal(pixels, np.rint(ramp / 1023 * 255))
    assert samples.limits == (0, 1023)
    gray = Image.fromarray((ramp // 8).astype(np.uint8))
    assert stretched(make(channels=1), gray) == (gray, None)


@pytest.mark.parametrize("size", [(1000, 1), (2, 300)])
def test_slivers_are_refused(size):
    with pytest.raises(UnusablePictureError, match="too narrow"):
        read(make(fit="crop"), Image.new("RGB", size))[0]


@pytest.mark.parametrize(
    "picture",
    [
        constant("RGBA", (255, 0, 0, 0)),
        constant("LA", (0, 0)),
        constant("PA", (0, 0)),
        constant("RGBA", (9, 9, 9, 0)).convert("RGBa"),
        saved(constant("P", 0), "PNG", transparency=0),
        saved(constant("RGBA", (255, 0, 0, 0)).quantize(4), "PNG", transparency=b"\x00\x00"),
        saved(constant("RGB", RED), "PNG", transparency=RED),
    ],
    ids=["RGBA", "LA", "PA", "RGBa", "P index", "P bytes", "RGB colour key"],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_what_is_transparent_is_white(picture, channels):
    assert (read(make(channels=channels), picture)[0] == 255).all()


@pytest.mark.parametrize(
    ("picture", "expected"),
    [
        (constant("CMYK", (0, 255, 255, 0)), RED),
        (constant("HSV", (0, 255, 255)), RED),
        (constant("RGBA", (255, 0, 0, 255)), RED),
        (constant("1", 1), (255, 255, 255)),
        (saved(constant("RGB", GREEN).quantize(4), "PNG"), GREEN),
    ],
    ids=["CMYK", "HSV", "RGBA", "1", "P"],
)
def test_colours_survive(picture, expected):
    assert (read(make(), picture)[0] == expected).all()


def test_gray_weighs_colours_as_the_eye_does():
    reds = read(make(channels=1), constant("RGB", RED))[0], read(make(channels=1), constant("CMYK", 0))[0]
    assert [int(array[0, 0, 0]) for array in reds] == [76, 255]


def test_exif_orientation_is_applied_once():
    upright = Image.new("RGB", (8, 8), RED)
    upright.paste(GREEN, (0, 0, 8, 4))
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate by 90 degrees clockwise to show
    stored = saved(upright.transpose(Image.Transpose.ROTATE_90), "PNG", exif=exif)
    transform = make()
    assert (read(transform, stored)[0][0] == GREEN).all()
    assert (read(transform, stretched(transform, stored)[0])[0][0] == GREEN).all()


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_exif_orientation_is_applied_to_more_than_8_bits_too(kind):
    upright = np.zeros((8, 8), np.uint16)
    upright[:4] = 65535
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = saved(Image.fromarray(np.ascontiguousarray(np.rot90(upright))), kind, exif=exif)
    assert read(make(channels=1), stored)[0][:, 0, 0].tolist() == [255] * 4 + [0] * 4


def test_pad_keeps_all_and_adds_black():
    array = read(make(8, fit="pad"), Image.new("RGB", (16, 8), RED))[0]
    assert (array[:2] == 0).all()
    assert (array[2:6] == RED).all()
    assert (array[6:] == 0).all()


def test_squash_keeps_all_of_the_picture():
    picture = Image.new("RGB", (30, 10), RED)
    picture.paste(GREEN, (0, 0, 5, 10))
    assert (read(make(12), picture)[0][:, 0] == GREEN).all()


def test_resize_larger_than_size_keeps_the_centre():
    picture = Image.new("RGB", (8, 8), RED)
    picture.paste(GREEN, (2, 2, 6, 6))
    assert (read(make(4, fit="crop", resize=8), picture)[0] == GREEN).all()


@given(
    st.builds(make, st.integers(1, 9), st.sampled_from([1, 3]), st.sampled_from(["crop", "squash", "pad"]))
)
def test_the_dictionary_says_everything(transform):
    for each in (transform, replace(transform, range=(0, 1023)), replace(transform, range=(-0.5, 1.5))):
        assert Transform.from_dict(json.loads(json.dumps(each.to_dict()))) == each


def test_the_dictionary_of_8_bits_is_what_it_was_before_there_were_ranges():
    assert "range" not in make().to_dict()


def test_pictures_of_8_bits_are_shown_alike_whatever_the_range():
    assert make().same_input(replace(make(), range=(0, 1023)))
    assert not make().same_input(make(9))


def test_nulls_of_the_configuration_are_filled():
    transform = transform_of(Input(size=20, channels=1, fit=Fit.pad))
    assert transform == Transform(20, 20, 1, "pad", "bilinear", (0.5,), (0.25,))


def test_given_values_are_kept():
    transform = transform_of(Input(size=20, resize=24, mean=[0.1, 0.2, 0.3], std=[1, 2, 3]))
    assert (transform.resize, transform.mean, transform.std) == (24, (0.1, 0.2, 0.3), (1, 2, 3))


def test_a_size_is_needed():
    with pytest.raises(FieldError, match=r"input\.size = None is not allowed"):
        transform_of(Input(size=None))


@pytest.mark.parametrize(("field", "value"), [("interpolation", "nearest"), ("fit", "stretch")])
def test_unknown_names_are_refused(field, value):
    with pytest.raises(FieldError, match=f"{field} = '{value}' is not allowed"):
        Transform.from_dict({**make().to_dict(), field: value})
