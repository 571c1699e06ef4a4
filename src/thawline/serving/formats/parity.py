"""The gate of an export: picture files must be answered, all the way, as `thawline predict` answers them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from thawline.data.store import Store
from thawline.serving.predict import Prediction

TOLERANCE = 1e-4
"""Largest difference of a probability."""
BATCHES = (1, 2, 7)
FILES = 14

Asked = Callable[[Sequence[Path]], Sequence[np.ndarray]]
"""Answers picture files: probabilities `(n, classes)`, index of the label `(n,)`, unknown score `(n,)`."""


@dataclass(frozen=True)
class Difference:
    """How far two answers are apart: the largest difference of a probability and of an unknown score, and of
    how many pictures the labels differ."""

    probability: float
    unknown: float
    labels: int

    @property
    def missed(self) -> str | None:
        """Say by how much the gate was missed; None where it was not."""
        if self.labels == 0 and max(self.probability, self.unknown) <= TOLERANCE:
            return None
        return (
            f"its probabilities differ by up to {self.probability:.1e} and its unknown scores by up to "
            f"{self.unknown:.1e} (allowed {TOLERANCE:.0e}), "
            f"and the label of {self.labels} of {FILES} pictures"
        )


def write_pictures(store: Store, folder: Path) -> list[Path]:
    """Write training pictures, spread over all, as PNG files of as many shapes; return their paths."""
    store = store.part("train")
    rows = np.linspace(0, len(store) - 1, FILES).round().astype(int)
    paths = []
    for number, row in enumerate(rows):
        image = store.images[row]
        picture = Image.fromarray(image[..., 0] if image.shape[2] == 1 else image)
        # the first as it is stored; none of the others is square, so that resizing and cutting count
        width, height = picture.width * (8 + number) // 8, picture.height * (8 + 2 * number) // 8
        paths.append(folder / f"{number}.png")
        picture.resize((width, height)).save(paths[-1])
    return paths


def difference(ours: Sequence[Prediction], classes: Sequence[str], asked: Asked) -> Difference:
    """Return how far the answers of `asked`, in batches of 1, 2 and 7, are from what `thawline predict` says
    of the same files (`ours`)."""
    files = [each.path for each in ours]
    probabilities = np.array([[each.probabilities[name] for name in classes] for each in ours])
    labels = np.array([classes.index(str(each.label)) for each in ours])
    scores = np.array([each.distance or 0.0 for each in ours])  # 0 where the bundle knows no unknown ones
    largest, differing = [0.0, 0.0], np.zeros(len(files), bool)
    for size in BATCHES:
        answers = [asked(files[start : start + size]) for start in range(0, len(files), size)]
        theirs, theirs_labels, unknown = (
            np.concatenate([each[part] for each in answers]) for part in range(3)
        )
        for number, gap in enumerate((theirs - probabilities, unknown - scores)):
            # a NaN is as far away as can be
            largest[number] = max(largest[number], float(np.nan_to_num(np.abs(gap), nan=1.0).max()))
        differing |= theirs_labels != labels
    return Difference(largest[0], largest[1], int(differing.sum()))
