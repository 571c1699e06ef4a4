"""Augmentation keeps pictures recognisable, and each picture's change is its own."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from thawline.data.augment import NUMBERS, _matrices, augment

NO_CHANGE = np.full((1, NUMBERS), 0.5)


def pixels(count: int, size: int = 12, seed: int = 0) -> torch.Tensor:
    return 255 * torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(seed))


def numbers(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((count, NUMBERS))


@settings(max_examples=30)
@given(
    count=st.integers(1, 9), size=st.sampled_from([8, 11, 32]), seed=st.integers(0, 99), mirror=st.booleans()
)
def test_a_picture_changes_the_same_in_any_batch(count, size, seed, mirror):
    batch, random = pixels(count, size, seed), numbers(count, seed)
    together = augment(batch, random, mirror)
    alone = torch.cat([augment(batch[i : i + 1], random[i : i + 1], mirror) for i in range(count)])
    assert torch.equal(together, alone)


@given(seed=st.integers(0, 999), mirror=st.booleans())
def test_nothing_is_brighter_or_darker_than_before(seed, mirror):
    batch = pixels(4, seed=seed)
    changed = augment(batch, numbers(4, seed), mirror)
    assert changed.shape == batch.shape
    assert changed.min() >= batch.min() - 1e-3
    assert changed.max() <= batch.max() + 1e-3


def test_the_middle_of_every_range_changes_nothing():
    batch = pixels(1)
    torch.testing.assert_close(augment(batch, NO_CHANGE, mirror=False), batch, atol=1e-3, rtol=0)


def test_mirroring_flips_left_and_right():
    batch, change = pixels(1), NO_CHANGE.copy()
    change[0, 5] = 0.4
    torch.testing.assert_close(augment(batch, change, mirror=True), batch.flip(3), atol=1e-3, rtol=0)
    torch.testing.assert_close(augment(batch, change, mirror=False), batch, atol=1e-3, rtol=0)


def test_half_of_the_pictures_are_mirrored():
    ramp = torch.linspace(0, 255, 12).expand(400, 1, 12, 12).contiguous()
    changed = augment(ramp, numbers(400), mirror=True)
    falling = (changed[..., 0].mean((1, 2)) > changed[..., -1].mean((1, 2))).float().mean().item()
    assert falling == pytest.approx(0.5, abs=0.08)


def test_without_mirroring_left_stays_left():
    ramp = torch.linspace(0, 255, 12).expand(400, 1, 12, 12).contiguous()
    changed = augment(ramp, numbers(400), mirror=False)
    assert (changed[..., :2].mean((1, 2, 3)) < changed[..., -2:].mean((1, 2, 3))).all()


@pytest.mark.parametrize("column", range(5))
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_each_number_changes_something_but_not_beyond_recognition(column, value):
    smooth = torch.nn.functional.interpolate(pixels(1, 4), size=(32, 32), mode="bicubic")
    change = NO_CHANGE.copy()
    change[0, column] = value
    changed = augment(smooth, change, mirror=False)
    assert not torch.allclose(changed, smooth, atol=1.0)
    assert np.corrcoef(changed.ravel(), smooth.ravel())[0, 1] > 0.6


@given(seed=st.integers(0, 999), mirror=st.booleans())
def test_only_zooming_changes_areas(seed, mirror):
    random = numbers(5, seed)
    unchanged = np.hstack([random[:, :1], np.full((5, NUMBERS - 1), 0.5)])
    areas, expected = (_matrices(rows, mirror)[:, :, :2].det() for rows in (random, unchanged))
    torch.testing.assert_close(areas.abs(), expected.abs())


@pytest.mark.parametrize("outside", [0.0, 1.0])
def test_turning_does_not_stretch(outside):
    """A disc stays a disc of the same size whichever way the picture is turned."""
    y, x = np.mgrid[-31.5:32, -31.5:32]
    disc = torch.tensor(np.hypot(x, y) < 20, dtype=torch.float32)[None, None]
    change = NO_CHANGE.copy()
    change[0, 2] = outside
    assert augment(disc, change, mirror=False).sum().item() == pytest.approx(disc.sum().item(), rel=0.01)
