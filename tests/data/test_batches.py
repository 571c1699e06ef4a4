"""What comes out of the batches depends on seed, epoch and picture, and on nothing else."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from thawline.config.sections import AugmentationName
from thawline.data.augment import FIXED
from thawline.data.batches import NOT_COUNTED, Batches, as_pixels, largest_part, normalised
from thawline.data.transform import Transform

TRANSFORM = Transform(8, 8, 3, "crop", "bilinear", (0.5, 0.4, 0.3), (0.25, 0.2, 0.1))
COUNT = 23
IMAGES = np.random.default_rng(0).integers(0, 256, (COUNT, 8, 8, 3), np.uint8)
LABELS = np.arange(COUNT) % 5
STANDARD = AugmentationName.standard
RANDOM = [name for name in AugmentationName if name not in FIXED]


def make(batch_size: int = 4, shuffle: bool = True, images: np.ndarray = IMAGES, **options) -> Batches:
    return Batches(images, LABELS[: len(images)], TRANSFORM, batch_size, shuffle=shuffle, **options)


def epoch(batches: Batches, number: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """All of one epoch: images, labels, indices."""
    batches.set_epoch(number)
    images, labels, indices = (torch.cat(parts) for parts in zip(*batches, strict=True))
    return images, labels, indices


def by_picture(batches: Batches, number: int = 0) -> torch.Tensor:
    images, _, indices = epoch(batches, number)
    return images[indices.argsort()]


@given(batch_size=st.integers(1, 30), shuffle=st.booleans(), number=st.integers(0, 5))
def test_every_picture_comes_once_with_its_label(batch_size, shuffle, number):
    _, labels, indices = epoch(make(batch_size, shuffle), number)
    assert sorted(indices.tolist()) == list(range(COUNT))
    np.testing.assert_array_equal(labels, LABELS[indices])


@given(batch_size=st.integers(1, 30))
def test_the_last_batch_is_what_is_left(batch_size):
    sizes = [len(labels) for _, labels, _ in make(batch_size, shuffle=False)]
    assert len(make(batch_size, shuffle=False)) == len(sizes)
    assert set(sizes[:-1]) <= {batch_size}
    assert sizes[-1] == (COUNT % batch_size or batch_size)


@given(count=st.integers(1, COUNT), batch_size=st.integers(1, 30))
def test_a_single_picture_that_is_left_joins_the_batch_before_it(count, batch_size):
    shuffled, plain = (make(batch_size, shuffle, images=IMAGES[:count]) for shuffle in (True, False))
    sizes, in_order = ([len(labels) for _, labels, _ in batches] for batches in (shuffled, plain))
    if in_order[-1] == 1 and 1 < batch_size < count:
        in_order[-2:] = [batch_size + 1]
    assert sizes == in_order
    assert len(shuffled) == len(sizes)


def test_images_are_normalised_per_channel():
    images = epoch(make(shuffle=False))[0]
    expected = (IMAGES / 255 - np.array(TRANSFORM.mean)) / np.array(TRANSFORM.std)
    assert (images.dtype, images.shape) == (torch.float32, (COUNT, 3, 8, 8))
    np.testing.assert_allclose(images.permute(0, 2, 3, 1), expected, rtol=1e-5, atol=1e-5)


def test_the_order_is_decided_by_seed_and_epoch_and_without_shuffling_by_the_store():
    asked = [(seed, number) for seed in (0, 1) for number in (0, 1)]
    orders = {(seed, number): tuple(epoch(make(seed=seed), number)[2].tolist()) for seed, number in asked}
    assert epoch(make(shuffle=False), 3)[2].tolist() == list(range(COUNT))
    assert len(set(orders.values())) == 4
    assert tuple(epoch(make(7, seed=1), 1)[2].tolist()) == orders[1, 1]


@given(
    sizes=st.tuples(st.integers(1, 30), st.integers(1, 30)),
    seed=st.integers(0, 9),
    number=st.integers(0, 9),
    mirror=st.booleans(),
    augmentation=st.sampled_from(RANDOM),
)
def test_a_picture_is_changed_the_same_in_any_batch_and_order(sizes, seed, number, mirror, augmentation):
    one, other = (
        by_picture(make(size, shuffle, seed=seed, augmentation=augmentation, mirror=mirror), number)
        for size, shuffle in zip(sizes, (True, False), strict=True)
    )
    assert torch.equal(one, other)


@pytest.mark.parametrize("augmentation", RANDOM)
def test_adding_pictures_does_not_change_the_others(augmentation):
    fewer = by_picture(make(augmentation=augmentation, images=IMAGES[:9]))
    assert torch.equal(fewer, by_picture(make(augmentation=augmentation))[:9])


@pytest.mark.parametrize("augmentation", RANDOM)
def test_a_picture_changes_from_epoch_to_epoch_and_with_the_seed(augmentation):
    first, next_epoch, other_seed = (
        by_picture(make(seed=seed, augmentation=augmentation), number)
        for seed, number in ((0, 0), (0, 1), (1, 0))
    )
    for other in (next_epoch, other_seed):
        # a policy may leave a picture as it is, now and then in both
        changed = (first != other).any((1, 2, 3)).float().mean()
        assert changed == 1 if augmentation is STANDARD else changed > 0.7


def test_what_a_policy_pushes_in_is_nothing_to_the_network():
    """The mean colour, which normalising takes to about 0."""
    images, _, _ = epoch(make(augmentation=AugmentationName.rand_augment, images=np.zeros_like(IMAGES)))
    outside = images.amin(1) > -0.05
    assert outside.any()
    assert images.permute(0, 2, 3, 1)[outside].abs().max() < 0.05


@pytest.mark.parametrize("augmentation", RANDOM)
def test_the_global_generator_decides_nothing_and_is_left_alone(augmentation):
    state = torch.get_rng_state()
    one = by_picture(make(augmentation=augmentation))
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(7)
    assert torch.equal(by_picture(make(augmentation=augmentation)), one)


BITS = {AugmentationName.none: 139.41587141617242, STANDARD: 109.757920517353}


@pytest.mark.parametrize("augmentation", BITS)
def test_the_bits_of_earlier_versions_stay(augmentation):
    """What was trained before can be trained again; the tolerance is for other processors' rounding."""
    images = by_picture(make(seed=3, augmentation=augmentation, mirror=True), 2).double().flatten()
    weights = torch.linspace(-1, 1, len(images), dtype=torch.float64)
    assert (images @ weights).item() == pytest.approx(BITS[augmentation], rel=1e-6)


def test_without_augmentation_epochs_differ_in_order_only():
    assert torch.equal(by_picture(make(), 0), by_picture(make(), 5))


def test_iterating_twice_is_the_same_epoch():
    batches = make(augmentation=STANDARD)
    for one, other in zip(batches, batches, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize(("augmentation", "shuffle"), [(AugmentationName.none, False), (STANDARD, True)])
def test_memory_mapped_pictures_are_read_and_never_written(tmp_path, augmentation, shuffle):
    np.save(tmp_path / "images.npy", IMAGES)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    for images, _, _ in make(shuffle=shuffle, images=mapped, augmentation=augmentation):
        images.zero_()
    np.testing.assert_array_equal(mapped, IMAGES)


def test_slices_are_read_unless_shuffled():
    class Watched(np.ndarray):
        reads: list = []  # noqa: RUF012

        def __getitem__(self, rows):
            self.reads.append(rows)
            return np.asarray(self).__getitem__(rows)

    list(make(10, shuffle=False, images=IMAGES.view(Watched)))
    assert Watched.reads == [slice(0, 10), slice(10, 20), slice(20, 23)]


def test_no_pictures_no_batches():
    assert list(make(images=IMAGES[:0])) == []
    assert len(make(images=IMAGES[:0])) == 0


def test_labels_must_match_and_batches_hold_something():
    with pytest.raises(ValueError, match="23 images but 5 labels"):
        Batches(IMAGES, LABELS[:5], TRANSFORM, 4, shuffle=False)
    with pytest.raises(ValueError, match="batch_size = 0 is below 1"):
        make(0)


@pytest.mark.parametrize("augmentation", [AugmentationName.none, STANDARD])
def test_batches_are_made_where_they_are_wanted(augmentation):
    usual = make(augmentation=augmentation)
    for batches in (make(device="meta", augmentation=augmentation), usual.on(torch.device("meta"))):
        assert {each.device.type for batch in batches for each in batch} == {"meta"}
    assert {each.device.type for batch in usual for each in batch} == {"cpu"}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_changes_pictures_as_the_cpu_does():
    ours, theirs = (
        by_picture(make(augmentation=STANDARD, device=device)).cpu() for device in ("cpu", "cuda")
    )
    torch.testing.assert_close(ours, theirs, atol=1e-3, rtol=1e-3)


def test_one_picture_for_serving_is_what_the_batches_hold():
    (alone,) = normalised(as_pixels(IMAGES[3:4]), TRANSFORM)
    assert torch.equal(alone, by_picture(make())[3])


@given(
    count=st.integers(1, COUNT), batch_size=st.integers(1, 30), world=st.integers(1, 9), shuffle=st.booleans()
)
def test_the_parts_of_all_processes_are_the_batch(count, batch_size, world, shuffle):
    whole = make(batch_size, shuffle, images=IMAGES[:count], augmentation=STANDARD)
    parts = [list(whole.shared(rank, world)) for rank in range(world)]
    assert {len(part) for part in parts} == {len(whole)}
    for number, batch in enumerate(whole):
        sizes = [len(part[number][1]) for part in parts]
        assert max(sizes) - min(sizes) <= 1
        counted = [part[number] for part in parts if part[number][2][0] != NOT_COUNTED]
        for ours, theirs in zip(batch, zip(*counted, strict=True), strict=True):
            assert torch.equal(ours, torch.cat(theirs))


@given(
    count=st.integers(1, COUNT),
    batch_size=st.integers(1, 30),
    wanted=st.sampled_from([1, 2, 4, 8]),
    world=st.integers(1, 3),
)
def test_parts_of_a_batch_are_the_batch_and_no_picture_is_alone(count, batch_size, wanted, world):
    whole = make(batch_size, images=IMAGES[:count], augmentation=STANDARD)
    parts = whole.in_parts(wanted)
    cut = list(parts)
    assert len(parts) == len(cut)
    for number, batch in enumerate(whole):
        mine = cut[number * parts.parts : (number + 1) * parts.parts]
        for ours, theirs in zip(batch, zip(*mine, strict=True), strict=True):
            assert torch.equal(ours, torch.cat(theirs))
        sizes = [len(each[1]) for each in mine]
        assert max(sizes) - min(sizes) <= 1
        assert min(sizes) > 1 or len(batch[1]) == 1
        # one more only where it would be alone
        assert max(sizes) <= largest_part(batch_size, wanted) + 1
    shares = [list(parts.shared(rank, world)) for rank in range(world)]
    assert {len(share) for share in shares} == {len(cut)}


@pytest.mark.parametrize(
    ("batch_size", "wanted", "parts"), [(32, 4, 4), (12, 8, 6), (10, 8, 5), (7, 4, 3), (3, 2, 1), (1, 2, 1)]
)
def test_parts_are_as_many_as_wanted_unless_a_picture_would_be_alone(batch_size, wanted, parts):
    assert make(batch_size).in_parts(wanted).parts == parts
    assert largest_part(batch_size, wanted) == -(-batch_size // parts)


def test_a_process_without_a_picture_gets_one_that_does_not_count():
    images, labels, indices = next(iter(make(shuffle=False, images=IMAGES[:1]).shared(1, 2)))
    assert (images.shape, labels.tolist(), indices.tolist()) == ((1, 3, 8, 8), [LABELS[0]], [NOT_COUNTED])


def test_sharing_leaves_the_whole_as_it_is():
    whole = make()
    whole.shared(1, 2).set_epoch(3)
    assert whole.epoch == 0
    assert len(epoch(whole)[1]) == COUNT


@pytest.mark.parametrize(("augmentation", "views"), [*zip(RANDOM, (1, 3, 2), strict=True)])
def test_epochs_take_the_views_in_turn(augmentation, views):
    batches = make(augmentation=augmentation, views=views, seed=4, mirror=True)
    fresh = make(augmentation=augmentation, seed=4, mirror=True)
    for number in range(2 * views):
        assert torch.equal(by_picture(batches, number), by_picture(fresh, number % views))


def test_a_picture_and_its_mirror_image_come_in_turn_whatever_the_seed():
    plain, mirrored = by_picture(make(seed=4)), by_picture(make(images=IMAGES[:, :, ::-1].copy()))
    batches = make(augmentation=AugmentationName.mirror, mirror=True, views=5, seed=9)
    assert batches.variants == 2
    assert [torch.equal(by_picture(batches, number), plain) for number in range(4)] == [True, False] * 2
    assert torch.equal(by_picture(batches, 3), mirrored)


def test_nothing_is_mirrored_that_would_be_another_picture():
    batches = make(augmentation=AugmentationName.mirror, mirror=False)
    assert batches.variants == 1
    assert torch.equal(by_picture(batches, 1), by_picture(make()))


def test_views_leave_every_epoch_an_order_of_its_own():
    batches = make(augmentation=STANDARD, views=1, seed=4)
    assert not torch.equal(epoch(batches, 0)[2], epoch(batches, 1)[2])


def stored(batches: Batches):
    """What a cache keeps: each variant of every picture."""
    kept = [by_picture(batches.in_order(7), variant) for variant in range(batches.variants)]
    return [lambda indices, device, one=one: one[torch.from_numpy(indices)].to(device) for one in kept]


@given(
    batch_size=st.integers(1, 30),
    parts=st.integers(1, 3),
    world=st.integers(1, 5),
    number=st.integers(0, 5),
    augmentation=st.sampled_from([AugmentationName.none, STANDARD]),
)
def test_what_was_stored_takes_the_place_of_the_pictures(batch_size, parts, world, number, augmentation):
    batches = make(batch_size, augmentation=augmentation, views=2, seed=1).in_parts(parts)
    batches = batches.shared(world - 1, world)
    given_ = batches.given(stored(batches))
    batches.set_epoch(number)
    given_.set_epoch(number)
    for ours, theirs in zip(given_, batches, strict=True):
        for one, other in zip(ours, theirs, strict=True):
            assert torch.equal(one, other)


def test_as_many_stored_variants_as_there_are():
    with pytest.raises(ValueError, match="1 stored variants of pictures that have 2"):
        make(augmentation=STANDARD, views=2).given(stored(make()))
    assert make(augmentation=STANDARD).variants is None
    with pytest.raises(ValueError, match="that have None"):
        make(augmentation=STANDARD).given(stored(make()))


def test_targets_come_in_place_of_labels():
    targets = np.random.default_rng(1).random((COUNT, 5))
    batches = Batches(IMAGES, targets, TRANSFORM, 4, shuffle=True)
    _, found, indices = epoch(batches)
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found, targets[indices], rtol=1e-6)
