"""What a training makes smaller."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from thawline.training.loss import cross_entropy


@given(smoothing=st.sampled_from([0.0, 0.1]), weighted=st.booleans(), seed=st.integers(0, 1000))
def test_a_row_that_weighs_three_is_three_pictures(smoothing: float, weighted: bool, seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    logits = torch.randn(5, 3, generator=random)
    labels = torch.randint(3, (5,), generator=random)
    weights = torch.rand(3, generator=random) + 0.1 if weighted else None
    times = torch.tensor([0, 1, 3, 2, 1])
    found = cross_entropy(logits, functional.one_hot(labels, 3) * times[:, None].float(), weights, smoothing)
    again = functional.one_hot(labels, 3).float().repeat_interleave(times, 0)
    expected = cross_entropy(logits.repeat_interleave(times, 0), again, weights, smoothing)
    torch.testing.assert_close(found, expected)


def test_a_batch_without_weight_teaches_nothing() -> None:
    logits = torch.randn(4, 3, requires_grad=True)
    loss = cross_entropy(logits, torch.zeros(4, 3), torch.ones(3), 0.1)
    loss.backward()
    assert loss == 0
    assert not logits.grad.any()  # type: ignore[union-attr]
