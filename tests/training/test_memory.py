"""A recipe is not given up for want of memory before its batches have been made smaller."""

import pytest
import torch

from thawline.config.errors import UserError
from thawline.data.batches import largest_part
from thawline.training.memory import out_of_memory, with_less_memory


def room_for(pictures: int, batch_size: int):
    """A training whose memory holds so many pictures of a batch, and the list of parts it was asked for."""
    asked: list[int] = []

    def train(accumulate: int) -> str:
        asked.append(accumulate)
        if largest_part(batch_size, accumulate) > pictures:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return "trained"

    return train, asked


@pytest.mark.parametrize(("pictures", "parts"), [(64, 1), (32, 2), (31, 4), (8, 8)])
def test_batches_are_halved_until_they_fit(pictures: int, parts: int, freed: list[int]) -> None:
    train, asked = room_for(pictures, 64)
    assert with_less_memory(train, 64) == ("trained", parts)
    assert asked == [2**power for power in range(len(asked))]
    assert len(freed) == len(asked) - 1


def test_what_another_training_found_out_is_not_tried_again() -> None:
    train, asked = room_for(16, 64)
    assert with_less_memory(train, 64, accumulate=4) == ("trained", 4)
    assert asked == [4]


@pytest.mark.parametrize(("batch_size", "smallest"), [(64, 8), (5, 3), (3, 3), (1, 1)])
def test_the_smallest_batches_are_said(batch_size: int, smallest: int) -> None:
    train, _ = room_for(0, batch_size)
    with pytest.raises(UserError, match=rf"even with batches of {smallest} pictures\.\n  lower input\.size"):
        with_less_memory(train, batch_size)


def test_processes_that_train_together_do_not_try_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("thawline.training.memory.place", lambda: (1, 2))
    train, asked = room_for(32, 64)
    with pytest.raises(
        UserError, match=r"batches of 64 pictures shared out among 2 processes\.\n  lower batch_size or input"
    ):
        with_less_memory(train, 64)
    assert asked == [1]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("CUDA out of memory."), True),
        (MemoryError(), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes."), True),
        (RuntimeError("MPS backend out of memory"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_want_of_memory_is_told_from_other_errors(error: Exception, expected: bool) -> None:
    assert out_of_memory(error) is expected
    if not expected:
        with pytest.raises(type(error), match=str(error)):
            with_less_memory(_raising(error), 64)


def _raising(error: Exception):
    def train(_: int) -> None:
        raise error

    return train
