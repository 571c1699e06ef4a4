"""What a training makes smaller, of one network and of several."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from thawline.training.loss import cross_entropies, cross_entropy


@given(
    models=st.integers(1, 4),
    count=st.integers(1, 6),
    smoothing=st.sampled_from([0.0, 0.1]),
    weighted=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_the_losses_of_several_models_are_those_of_each(
    models: int, count: int, smoothing: float, weighted: bool, seed: int
) -> None:
    random = torch.Generator().manual_seed(seed)
    logits = torch.randn(models, count, 3, generator=random)
    labels = torch.randint(3, (models, count), generator=random)
    weights = torch.rand(3, generator=random) + 0.1 if weighted else None
    together = cross_entropies(logits, labels, weights, smoothing)
    each = [cross_entropy(*both, weights, smoothing) for both in zip(logits, labels, strict=True)]
    torch.testing.assert_close(together, torch.stack(each))
