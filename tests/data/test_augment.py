"""Augmentation keeps pictures recognisable, and each picture's change is its own."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from thawline.config.sections import AugmentationName
from thawline.data.augment import NUMBERS, POLICIES, _matrices, augment, augment_by_policy

RAND, TRIVIAL = AugmentationName.rand_augment, AugmentationName.trivial_augment
NO_CHANGE = np.full((1, NUMBERS), 0.5)


def pixels(count: int, size: int = 12, seed: int = 0) -> torch.Tensor:
    return 255 * torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(seed))


def numbers(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((count, NUMBERS))


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


def pictures(count: int, size: int = 16, channels: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, size, size, channels), np.uint8)


@given(
    policy=st.sampled_from(list(POLICIES)),
    channels=st.sampled_from([1, 3]),
    count=st.integers(1, 6),
    seed=st.integers(0, 99),
    mirror=st.booleans(),
)
def test_a_policy_changes_a_picture_the_same_in_any_batch(policy, channels, count, seed, mirror):
    batch, random = pictures(count, 12, channels, seed), numbers(count, seed)
    fill = [128.0] * channels
    together = augment_by_policy(batch, random, mirror, policy, fill)
    ones = (slice(i, i + 1) for i in range(count))
    alone = [augment_by_policy(batch[one], random[one], mirror, policy, fill) for one in ones]
    assert (together.shape, together.dtype) == (batch.shape, np.uint8)
    np.testing.assert_array_equal(together, np.concatenate(alone))


@pytest.mark.parametrize("policy", POLICIES)
def test_a_policy_spares_its_input_and_the_global_generator(policy):
    batch, state = pictures(4), torch.get_rng_state()
    batch.flags.writeable = False
    augment_by_policy(batch, numbers(4), True, policy, [0.0] * 3)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("policy", POLICIES)
def test_a_policy_changes_equal_pictures_in_many_ways(policy):
    batch = np.repeat(pictures(1), 60, axis=0)
    changed = augment_by_policy(batch, numbers(60), False, policy, [0.0] * 3)
    assert len(np.unique(changed.reshape(60, -1), axis=0)) > 20


def test_rand_augment_applies_two_operations_and_trivial_augment_one():
    """As torchvision's own transforms do on the same picture with the same seed."""
    from PIL import Image
    from torchvision.transforms import v2

    batch, random = pictures(5), numbers(5)
    bilinear = v2.InterpolationMode.BILINEAR
    for policy, theirs in ((RAND, v2.RandAugment(2, 9)), (TRIVIAL, v2.TrivialAugmentWide())):
        theirs.interpolation, theirs._fill = bilinear, type(theirs)(fill=[7, 7, 7])._fill
        ours = augment_by_policy(batch, random, False, policy, [7.0] * 3)
        for image, row, changed in zip(batch, random, ours, strict=True):
            torch.manual_seed(int(row[0] * 2**53))
            np.testing.assert_array_equal(np.asarray(theirs(Image.fromarray(image))), changed)


def mirrored(batch: np.ndarray, random: np.ndarray, mirror: bool) -> np.ndarray:
    """Which pictures are what they would be had their mirror image been given, unmirrored."""
    plain = augment_by_policy(batch[:, :, ::-1], random, False, TRIVIAL, [0.0] * 3)
    return (augment_by_policy(batch, random, mirror, TRIVIAL, [0.0] * 3) == plain).all((1, 2, 3))


def test_a_policy_comes_after_mirroring_where_the_task_allows_it():
    batch, random = pictures(60), numbers(60)
    found, expected = mirrored(batch, random, True), random[:, 5] < 0.5
    assert found[expected].all()
    # now and then an operation leaves nothing to tell left from right by
    assert found[~expected].mean() < 0.2
    assert mirrored(batch, random, False).mean() < 0.2


def test_what_lies_outside_has_the_colour_asked_for():
    """Among many changes of a black picture, some shift or turn it and show what lies outside."""
    black = np.zeros((60, 16, 16, 3), np.uint8)
    changed = augment_by_policy(black, numbers(60), False, RAND, [200.0, 100.0, 50.0])
    shown = (changed == [200, 100, 50]).all(3).any((1, 2))
    assert 0.2 < shown.mean() < 1
