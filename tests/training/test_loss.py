"""What a training makes smaller."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from thawline.training.loss import cross_entropy


@given(
    count=st.integers(1, 6),
    smoothing=st.sampled_from([0.0, 0.1]),
    weighted=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_shares_of_0_and_1_give_what_labels_give(
    count: int, smoothing: float, weighted: bool, seed: int
) -> None:
    random = torch.Generator().manual_seed(seed)
    logits = torch.randn(count, 3, generator=random)
    labels = torch.randint(3, (count,), generator=random)
    weights = torch.rand(3, generator=random) + 0.1 if weighted else None
    shares = functional.one_hot(labels, 3).float()
    found = cross_entropy(logits, shares, weights, smoothing)
    if not (smoothing and weighted):
        torch.testing.assert_close(found, cross_entropy(logits, labels, weights, smoothing))
    assert torch.isfinite(found)
