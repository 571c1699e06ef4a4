"""The loss, with labels or shares of them, of one process or of many."""

from collections.abc import Callable
from unittest.mock import patch

import numpy as np
import pytest
import torch
from conftest import TRANSFORM
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from thawline.config.sections import Pretrain
from thawline.data.batches import NOT_COUNTED, Batches
from thawline.training.classifier import Classifier
from thawline.training.loss import cross_entropy


@given(st.integers(0, 1000), st.booleans(), st.sampled_from([0.0, 0.1]))
def test_certain_shares_give_what_labels_give(seed: int, weighted: bool, smoothing: float) -> None:
    random = torch.Generator().manual_seed(seed)
    logits, labels = torch.randn(6, 3, generator=random), torch.randint(3, (6,), generator=random)
    weights = torch.rand(3, generator=random) + 0.1 if weighted else None
    by_label = cross_entropy(logits, labels, weights, smoothing)
    by_share = cross_entropy(logits, functional.one_hot(labels, 3).float(), weights, smoothing)
    torch.testing.assert_close(by_share, by_label, atol=1e-6, rtol=1e-5)


def test_a_mixed_loss_lies_between_those_of_both_labels() -> None:
    logits = torch.tensor([[2.0, 0.0, -1.0]])
    both = [cross_entropy(logits, torch.tensor([label])) for label in (0, 1)]
    mixed = cross_entropy(logits, torch.tensor([[0.25, 0.75, 0.0]]))
    assert mixed.item() == pytest.approx((0.25 * both[0] + 0.75 * both[1]).item())


@given(
    count=st.integers(1, 9),
    world=st.integers(2, 5),
    weighted=st.booleans(),
    mixed=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_the_mean_over_processes_is_the_loss_of_the_whole_batch(
    count: int, world: int, weighted: bool, mixed: bool, seed: int
) -> None:
    """Also where parts are unequal or empty, and their classes unequally frequent."""
    random = torch.Generator().manual_seed(seed)
    logits, labels = torch.randn(count, 3, generator=random), torch.randint(3, (count,), generator=random)
    targets = torch.rand(count, 3, generator=random).softmax(1) if mixed else labels
    weights = torch.rand(3, generator=random) + 0.1 if weighted else None
    places = Batches(np.zeros((count, 1, 1, 3), np.uint8), labels.numpy(), TRANSFORM, count, shuffle=False)
    parts = [next(iter(places.shared(rank, world)))[2] for rank in range(world)]
    classifier = Classifier(nn.Identity(), (), Pretrain(), seed=0, class_weights=weights)
    losses, counts = shared_losses(classifier, logits, targets, parts)
    expected = cross_entropy(logits, targets, weights)
    torch.testing.assert_close(torch.stack(losses).mean(), expected, atol=1e-5, rtol=1e-5)
    assert sum(counts) == pytest.approx(count)


def shared_losses(
    classifier: Classifier, logits: torch.Tensor, targets: torch.Tensor, parts: list[torch.Tensor]
) -> tuple[list[torch.Tensor], list[float]]:
    """What every process's part, given by the places of its pictures, makes of its share."""
    given_up: list[torch.Tensor] = []
    mine = [torch.zeros(1, dtype=torch.int64) if part[0] == NOT_COUNTED else part for part in parts]

    def shares(summed: Callable[[torch.Tensor], torch.Tensor]) -> list[tuple[torch.Tensor, ...]]:
        with (
            patch("thawline.training.classifier.summed", summed),
            patch("thawline.training.classifier.place", lambda: (0, len(parts))),
        ):
            return [classifier._share(targets[rows], part) for rows, part in zip(mine, parts, strict=True)]

    shares(lambda tensor: given_up.append(tensor) or torch.ones(2))  # type: ignore[func-returns-value]
    total = torch.stack(given_up).sum(0)
    found = shares(lambda _: total)
    losses = [classifier.loss(logits[rows], targets[rows]) for rows in mine]
    return [share * loss for loss, (share, _, _) in zip(losses, found, strict=True)], [
        count.item() for *_, count in found
    ]
