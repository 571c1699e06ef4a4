"""The embedded source looks like the digits, and each picture depends on seed, letter and index only."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits

from thawline.config.sections import DataSetName, Source
from thawline.data.sets.embedded import glyphs
from thawline.data.sets.embedded.digits import gray_levels

COUNT = 12


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """(52, 12, 8, 8)"""
    return np.stack([glyphs.draw(letter, range(COUNT), 8, seed=0) for letter in glyphs.LETTERS])


@pytest.mark.slow
def test_all_letters_in_both_cases():
    collection = glyphs.collect(Source(dataset=DataSetName.glyphs, glyphs_per_class=2), seed=0)
    assert [item.label for item in collection.items[::2]] == list(glyphs.LETTERS)
    assert len(set(glyphs.LETTERS)) == 52
    assert np.asarray(collection.open(3)).shape == (8, 8)
    paths = {item.path.lower() for item in collection.items}
    assert len(paths) == len(collection.items), "also where upper and lower case are the same file"


@settings(max_examples=8)
@given(letter=st.sampled_from(glyphs.LETTERS), start=st.integers(0, 400), seed=st.integers(0, 2**31 - 1))
def test_a_picture_does_not_depend_on_the_others_drawn_with_it(letter, start, seed):
    alone = glyphs.draw(letter, range(start, start + 1), 8, seed)
    among = glyphs.draw(letter, range(max(start - 3, 0), start + 2), 8, seed)
    np.testing.assert_array_equal(alone[0], among[min(start, 3)])


def test_pictures_of_a_letter_differ(images):
    for of_letter in images:
        assert len(np.unique(of_letter.reshape(COUNT, -1), axis=0)) == COUNT


def test_another_seed_draws_other_pictures(images):
    assert (glyphs.draw("A", range(COUNT), 8, seed=1) != images[0]).any((1, 2)).all()


@pytest.mark.parametrize("name", glyphs.FONT_FILES)
def test_every_font_has_every_letter(name):
    masks = [bytes(glyphs._font(name).getmask(letter)) for letter in glyphs.LETTERS]
    assert all(map(any, masks))
    # A font shows the same box for all letters it lacks.
    assert len(set(masks)) == len(masks)


def test_gray_levels_are_the_scanners(images):
    assert set(np.unique(images)) == set(gray_levels(np.arange(17.0)).tolist())


def test_ink_is_spread_as_in_the_digits(images):
    digits = gray_levels(load_digits().images)
    for statistic in (np.mean, np.std):
        assert statistic(images) == pytest.approx(statistic(digits), rel=0.15)
    ours, theirs = images.mean((0, 1)), digits.mean(0)
    assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > 0.85
    assert (images > 0).any(3).mean((0, 1)).min() > 0.9, "strokes reach the upper and lower border"
    assert (images[..., [0, -1]] > 0).mean() < (images[..., 2:6] > 0).mean() / 2, "but seldom the sides"


def test_upper_and_lower_case_of_one_shape_differ_in_size(images):
    rows = (images > 64).any(3).sum(2).mean(1)
    heights = dict(zip(glyphs.LETTERS, rows, strict=True))
    assert sum(heights[letter.upper()] > heights[letter] for letter in "cosvwxz") >= 6


def test_the_scan_may_be_finer():
    assert glyphs.draw("Q", range(2), 16, seed=0).shape == (2, 16, 16)
