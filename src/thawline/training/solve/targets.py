"""What a linear head is to say of each picture: its class, and how much it counts."""

from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True, eq=False)
class Targets:
    """Labels and weights of N rows, each a picture or one of its views.

    Args:
        labels: (N,) in 0 .. classes - 1.
        classes: of the head, those without pictures included.
        pictures: (N,) equal for the views of one picture; None: each row is a picture. Views share their
            picture's weight, so more views do not weaken a penalty.
        groups: (N,) equal for what belongs together; None: each picture on its own.
        class_weights: (classes,) or None: all 1.
        label_smoothing: in 0 .. 1, the share of a picture that is spread over all classes.
    """

    labels: np.ndarray
    classes: int
    pictures: np.ndarray | None = None
    groups: np.ndarray | None = None
    class_weights: np.ndarray | None = None
    label_smoothing: float = 0.0

    @property
    def weights(self) -> np.ndarray:
        """(N,): class weight over the number of views."""
        return self._class_weights[self.labels] / self._views

    @property
    def shares(self) -> np.ndarray:
        """(N, classes): each class's weight times its share of the row, as PyTorch's cross-entropy has it."""
        shares = np.full((len(self.labels), self.classes), self.label_smoothing / self.classes)
        shares[np.arange(len(self.labels)), self.labels] += 1 - self.label_smoothing
        return shares * self._class_weights / self._views[:, None]

    @property
    def together(self) -> np.ndarray:
        """(N,) in 0 .. G - 1, equal for rows that are left out together: views of a picture, and groups."""
        alone = np.arange(len(self.labels)) if self.pictures is None else self.pictures
        return np.unique(alone if self.groups is None else self.groups, return_inverse=True)[1]

    def rows(self, chosen: np.ndarray) -> "Targets":
        """Return those of the rows that `chosen`, a mask or indices, names."""
        pictures, groups = (None if each is None else each[chosen] for each in (self.pictures, self.groups))
        return replace(self, labels=self.labels[chosen], pictures=pictures, groups=groups)

    @property
    def _class_weights(self) -> np.ndarray:
        return np.ones(self.classes) if self.class_weights is None else np.asarray(self.class_weights, float)

    @property
    def _views(self) -> np.ndarray:
        if self.pictures is None:
            return np.ones(len(self.labels))
        _, own, count = np.unique(self.pictures, return_inverse=True, return_counts=True)
        return count[own].astype(float)
