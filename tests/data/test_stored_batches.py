"""Batches of what is stored in place of pictures: the same places, read from the store a few at a time."""

import numpy as np
import pytest
import torch

from thawline.data import batches as module
from thawline.data.batches import NOT_COUNTED, Batches
from thawline.data.transform import Transform

COUNT = 23
IMAGES = np.zeros((COUNT, 8, 8, 3), np.uint8)
LABELS = np.arange(COUNT) % 5
STORED = torch.arange(COUNT * 6, dtype=torch.float32).view(COUNT, 2, 3)


def make(batch_size: int, *, shuffle: bool = True) -> Batches:
    transform = Transform(8, 8, 3, "crop", "bilinear", (0.5,) * 3, (0.25,) * 3)
    return Batches(IMAGES, LABELS, transform, batch_size, shuffle=shuffle)


@pytest.mark.parametrize(("bytes_", "taken"), [(2**20, [4, 19]), (9 * 24, [4, 8, 8, 3]), (0, [4] * 5 + [3])])
@pytest.mark.parametrize("shuffle", [True, False])
def test_small_stored_rows_are_taken_for_several_batches_at_once(
    bytes_: int, taken: list[int], shuffle: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TOGETHER_BYTES", bytes_)
    asked = []

    def rows(indices: np.ndarray, _: torch.device) -> torch.Tensor:
        asked.append(len(indices))
        return STORED[torch.from_numpy(indices)]

    found = list(make(4, shuffle=shuffle).given([rows]))
    assert asked == taken
    assert [len(inputs) for inputs, _, _ in found] == [4, 4, 4, 4, 4, 3]
    for inputs, labels, indices in found:
        assert torch.equal(inputs, STORED[indices])
        assert torch.equal(labels, torch.from_numpy(LABELS)[indices])


@pytest.mark.parametrize("bytes_", [2**20, 9 * 24, 0])
@pytest.mark.parametrize(("wanted", "world"), [(1, 1), (3, 1), (1, 5), (2, 2)])
def test_stored_rows_come_in_parts_and_shares_as_pictures_do(
    bytes_: int, wanted: int, world: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TOGETHER_BYTES", bytes_)
    whole = make(5).in_parts(wanted)
    stored = whole.given([lambda indices, _: STORED[torch.from_numpy(indices)]])
    for rank in range(world):
        both = zip(stored.shared(rank, world), whole.shared(rank, world), strict=True)
        for (inputs, labels, indices), (images, others, same) in both:
            assert torch.equal(indices, same)
            assert torch.equal(labels, others)
            assert len(inputs) == len(images)
            counted = indices[indices != NOT_COUNTED]
            assert torch.equal(inputs[: len(counted)], STORED[counted])
