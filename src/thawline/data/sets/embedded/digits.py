"""The embedded target: 1,797 handwritten digits that come with scikit-learn."""

import numpy as np
from PIL import Image

from thawline.config.sections import DataSet
from thawline.data.collection import Collection, Item

WHITE_LEVEL = 16
"""The scanner counted the ink in 4 x 4 cells, so gray levels run from 0 to 16."""


def collect(data: DataSet, seed: int) -> Collection:
    """Return all digits, 8 x 8 pixels, white on black, labelled "0" to "9".

    Source: Alpaydin and Kaynak, "Optical recognition of handwritten digits", UCI repository, 1998.
    """
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = gray_levels(digits.images)
    items = tuple(Item(f"digits/{index:04d}", str(label)) for index, label in enumerate(digits.target))
    return Collection(items, lambda index: Image.fromarray(images[index]), rest_is_test=True)


def gray_levels(ink: np.ndarray) -> np.ndarray:
    """Return counts of 0..16 as uint8 gray of 0..255, same shape."""
    return np.rint(ink * (255 / WHITE_LEVEL)).astype(np.uint8)
