"""Mixed pictures and their soft labels say the same thing."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from thawline.config.sections import Mix
from thawline.data.mix import mix

CLASSES = 4
MIXING = (Mix.mixup, Mix.cutmix)


def batch(count: int = 6, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures that are all of one colour, the colour being the picture's number."""
    images = torch.arange(1.0, count + 1).view(-1, 1, 1, 1).expand(-1, 3, 10, 10).clone()
    labels = torch.randint(CLASSES, (count,), generator=torch.Generator().manual_seed(seed))
    return images, labels


@given(
    count=st.integers(1, 7), kind=st.sampled_from(MIXING), alpha=st.floats(0.05, 5), seed=st.integers(0, 99)
)
def test_soft_labels_are_shares(count, kind, alpha, seed):
    torch.manual_seed(seed)
    images, labels = batch(count, seed)
    mixed, shares = mix(images, labels, CLASSES, kind, alpha)
    assert (mixed.shape, shares.shape, shares.dtype) == (images.shape, (count, CLASSES), torch.float32)
    torch.testing.assert_close(shares.sum(1), torch.ones(count))
    assert ((shares > 0).sum(1) <= 2).all()


@pytest.mark.parametrize("kind", MIXING)
@pytest.mark.parametrize("seed", range(2))
def test_a_pictures_share_in_the_pixels_is_its_share_in_the_label(kind, seed):
    torch.manual_seed(seed)
    images, _ = batch(CLASSES)
    mixed, shares = mix(images, torch.arange(CLASSES), CLASSES, kind, 1.0)
    # picture k has the colour k + 1 and the class k
    expected = shares @ torch.arange(1.0, CLASSES + 1)
    torch.testing.assert_close(mixed.mean((1, 2, 3)), expected)


def test_cutmix_changes_a_rectangle_and_mixup_every_pixel():
    torch.manual_seed(1)
    images, labels = batch()
    cut, _ = mix(images, labels, CLASSES, Mix.cutmix, 1.0)
    assert set(cut.unique().tolist()) == set(images.unique().tolist())
    assert 0 < (cut != images).float().mean() < 1
    blended, _ = mix(images, labels, CLASSES, Mix.mixup, 1.0)
    assert (blended != images).all()


@pytest.mark.parametrize("kind", MIXING)
def test_the_global_generator_decides_and_inputs_stay_as_they_are(kind):
    images, labels = batch()
    before = images.clone(), labels.clone()
    found = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        found.append(mix(images, labels, CLASSES, kind, 1.0))
    assert torch.equal(found[0][0], found[1][0])
    assert torch.equal(found[0][1], found[1][1])
    assert not torch.equal(found[0][0], found[2][0])
    assert torch.equal(images, before[0])
    assert torch.equal(labels, before[1])


def test_without_mixing_nothing_is_copied_and_nothing_drawn():
    images, labels = batch()
    state = torch.get_rng_state()
    mixed, same = mix(images, labels, CLASSES, Mix.none, 0.2)
    assert mixed is images
    assert same is labels
    assert torch.equal(torch.get_rng_state(), state)


def test_a_small_alpha_hardly_mixes():
    torch.manual_seed(0)
    images, labels = batch()
    largest = [mix(images, labels, 100, Mix.mixup, 0.01)[1].max().item() for _ in range(50)]
    assert sum(share > 0.99 for share in largest) > 40


@pytest.mark.parametrize("kind", MIXING)
def test_targets_are_mixed_with_their_weights(kind):
    torch.manual_seed(2)
    images, labels = batch()
    weights = torch.arange(1.0, len(labels) + 1)
    targets = torch.nn.functional.one_hot(labels, CLASSES) * weights[:, None]
    mixed, found = mix(images, targets, CLASSES, kind, 1.0)
    # picture k has the colour k + 1 and the weight k + 1
    torch.testing.assert_close(found.sum(1), mixed.mean((1, 2, 3)))
