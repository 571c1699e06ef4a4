"""What a linear head is to say of each picture: its class, and how much it counts."""

from dataclasses import dataclass, field, replace

import numpy as np
from scipy.special import log_softmax

from thawline.training.robust import Loss


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
        given: (N, classes) shares of the classes whose sum is the row's weight, and labels only divide rows
            into folds; None: each row is its label's, and weighs 1.
        guessed: (N,) true for rows that voters or heads have labelled; None: none.
        loss: of a row.
    """

    labels: np.ndarray
    classes: int
    pictures: np.ndarray | None = None
    groups: np.ndarray | None = None
    class_weights: np.ndarray | None = None
    label_smoothing: float = 0.0
    given: np.ndarray | None = None
    guessed: np.ndarray | None = None
    loss: Loss = field(default_factory=Loss)

    @property
    def pseudo(self) -> np.ndarray:
        """(N,) bool: rows that teach, and by which nothing is judged."""
        return np.zeros(len(self.labels), bool) if self.guessed is None else self.guessed

    @property
    def weights(self) -> np.ndarray:
        """(N,): the class weights of what is given, over the number of views."""
        return self._given @ self._class_weights / self._views

    @property
    def shares(self) -> np.ndarray:
        """(N, classes): each class's weight times its share of the row, as PyTorch's cross-entropy has it."""
        given, spread = self._given, self.label_smoothing
        shares = spread / self.classes * given.sum(1, keepdims=True) + (1 - spread) * given
        return shares * self._class_weights / self._views[:, None]

    def losses(self, logits: np.ndarray) -> np.ndarray:
        """Return (N,) how wrong the answers (N, classes) of a head are on each row, for a weight of 1 and
        without smoothing; 0 for a row without weight.

        That is the cross-entropy. Where the loss is a robust one, labels may be wrong, and it is the share
        that the most probable class does not have: wrong labels add as much to any head's (Ghosh et al.
        2017), while a robust loss is least, out of fold, for heads that are too sure.
        """
        wanted = self._given * self._class_weights
        sums = wanted.sum(1, keepdims=True)
        shares = np.divide(wanted, sums, out=np.zeros_like(wanted), where=sums > 0)
        if self.loss.plain:
            return np.asarray(-(shares * log_softmax(logits, axis=1)).sum(1))
        right = np.take_along_axis(shares, logits.argmax(1)[:, None], 1)[:, 0]
        return np.asarray(shares.sum(1) - right)

    @property
    def together(self) -> np.ndarray:
        """(N,) in 0 .. G - 1, equal for rows that are left out together: views of a picture, and groups."""
        alone = np.arange(len(self.labels)) if self.pictures is None else self.pictures
        return np.unique(alone if self.groups is None else self.groups, return_inverse=True)[1]

    def grouped(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return which of G things left out together each of these rows is of, (R,), and what each counts as,
        (G,): the label of its first picture."""
        _, first, part = np.unique(self.together[rows], return_index=True, return_inverse=True)
        return part, self.labels[rows[first]]

    def of_variants(self, count: int) -> "Targets":
        """Return the targets of so many variants of all pictures, one variant after the other."""
        rows = np.arange(len(self.labels))
        pictures = np.tile(rows if self.pictures is None else self.pictures, count)
        return replace(self.rows(np.tile(rows, count)), pictures=pictures)

    def rows(self, chosen: np.ndarray) -> "Targets":
        """Return those of the rows that `chosen`, a mask or indices, names."""
        names = ("pictures", "groups", "given", "guessed")
        found = {name: each[chosen] for name in names if (each := getattr(self, name)) is not None}
        return replace(self, labels=self.labels[chosen], **found)

    @property
    def _given(self) -> np.ndarray:
        return np.eye(self.classes)[self.labels] if self.given is None else self.given.astype(float)

    @property
    def _class_weights(self) -> np.ndarray:
        return np.ones(self.classes) if self.class_weights is None else np.asarray(self.class_weights, float)

    @property
    def _views(self) -> np.ndarray:
        if self.pictures is None:
            return np.ones(len(self.labels))
        _, own, count = np.unique(self.pictures, return_inverse=True, return_counts=True)
        return count[own].astype(float)
