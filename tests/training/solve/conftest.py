"""Features in which classes can be told, but not surely."""

from collections.abc import Callable

import numpy as np
import pytest

Draw = Callable[..., tuple[np.ndarray, np.ndarray]]


@pytest.fixture(scope="session")
def draw() -> Draw:
    def drawn(pictures: int, columns: int, classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """(N, D) float32 as after a ReLU, one column constant, and (N,) labels, the first class rarest."""
        generator = np.random.default_rng(seed)
        labels = np.sqrt(generator.random(pictures) * classes**2).astype(int)
        labels[:classes] = np.arange(classes)
        middle = generator.normal(size=(classes, columns))
        values = np.maximum(middle[labels] + 2 * generator.normal(size=(pictures, columns)), 0)
        values[:, 0] = 0.3
        return values.astype(np.float32), labels

    return drawn
