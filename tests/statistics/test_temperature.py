"""The temperature with the least log-loss, within reason."""

import numpy as np
import pytest
from scipy.special import softmax

from thawline.statistics.temperature import HOTTEST, temperature_of


@pytest.mark.parametrize("truth", [0.5, 1.0, 3.0])
def test_the_temperature_that_made_logits_wrong_is_found(truth: float) -> None:
    random = np.random.default_rng(0)
    logits = 2 * random.normal(size=(20_000, 3))
    labels = (random.random((20_000, 1)) > softmax(logits, axis=1).cumsum(1)).sum(1).clip(max=2)
    assert temperature_of(truth * logits, labels) == pytest.approx(truth, rel=0.03)


def test_a_few_pictures_that_are_all_right_are_no_certainty() -> None:
    labels = np.arange(10) % 2
    logits = 2.0 * np.eye(2)[labels]
    few = temperature_of(logits, labels)
    assert 1 / HOTTEST < temperature_of(np.tile(logits, (10, 1)), np.tile(labels, 10)) < few < 1


def test_without_pictures_there_is_none() -> None:
    with pytest.raises(ValueError, match="no temperature without pictures"):
        temperature_of(np.zeros((0, 2)), np.zeros(0, int))
