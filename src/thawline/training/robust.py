"""Losses for labels that may be wrong: what a picture of a class costs, by how probable a network finds it.

A target that is divided among classes costs the mean of their costs. So all losses go with shares, weights of
classes and smoothing alike.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from thawline.config.choices import LossName
from thawline.config.recipe.fields import Finetune

LARGEST = 4.0
"""What the reverse cross-entropy takes for the logarithm of nothing, but for the sign (Wang et al. 2019)."""


@dataclass(frozen=True)
class Loss:
    """One loss and its parameter, which the cross-entropy has none of."""

    name: LossName = LossName.cross_entropy
    parameter: float = 0.0

    @classmethod
    def of(cls, recipe: Finetune) -> "Loss":
        """Return the loss of a recipe."""
        given = {LossName.generalised: recipe.loss_q, LossName.symmetric: recipe.loss_reverse}
        return cls(recipe.loss, given.get(recipe.loss, 0.0))

    @property
    def plain(self) -> bool:
        """Tell whether this is the cross-entropy."""
        return self.name is LossName.cross_entropy

    def costs(self, log_p: Any, exp: Callable[[Any], Any]) -> Any:
        """Return what a picture of each class costs, (B, classes) as `log_p`, the logarithms of
        probabilities: arrays, or tensors, whose `exp` is given.

        generalised: (1 - p ** q) / q (Zhang & Sabuncu 2018, equation 6). symmetric: a share r of the reverse
        cross-entropy, 4 * (1 - p) for a label, and 1 - r of the cross-entropy (Wang et al. 2019, equation 7).
        """
        if self.name is LossName.generalised:
            return (1 - exp(self.parameter * log_p)) / self.parameter
        if self.name is LossName.symmetric:
            return (self.parameter - 1) * log_p + self.parameter * LARGEST * (1 - exp(log_p))
        return -log_p

    def pull(self, p: np.ndarray) -> np.ndarray:
        """Return by what factor a picture of each class pulls weaker, or stronger, than by the cross-entropy,
        where the class has the probability `p`."""
        if self.name is LossName.generalised:
            return np.asarray(p**self.parameter)
        if self.name is LossName.symmetric:
            return 1 - self.parameter + self.parameter * LARGEST * p
        return np.ones_like(p)
