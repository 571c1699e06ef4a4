"""The loss, with labels or shares of them."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from thawline.training.classifier import cross_entropy


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
