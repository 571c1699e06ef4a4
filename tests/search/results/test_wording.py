"""The recommendation's reason says what was found, on how many pictures, and what it does not hold."""

from dataclasses import replace

import numpy as np
import pytest
from tests_studies import at_depth

from thawline.search.results.wording import OTHER_TRAINING_PICTURES, ranges, reason
from thawline.statistics.recommendation import Recommendation

POINTS = [at_depth(depth, np.ones((3, 200))) for depth in range(3)]
FOUND = Recommendation(
    chosen=POINTS[2],
    best=POINTS[1],
    accuracy=0.905,
    alike=(0, 1, 2),
    depths=4,
    fewest_seeds=3,
    tolerance=None,
    pictures=200,
    independent=200,
    pictures_needed=1200,
)


def test_the_cheapest_of_indistinguishable_depths() -> None:
    assert reason(FOUND) == (
        "Depths 0 to 2 are indistinguishable on your 200 validation pictures; depth 2 is the cheapest of "
        "them. About 1,200 pictures to validate on would show a difference of 2 points. "
        "Other training pictures might rank the depths otherwise; no interval here holds that."
    )


def test_a_depth_that_stands_alone() -> None:
    found = replace(FOUND, chosen=POINTS[1], alike=(1,), pictures_needed=None)
    expected = "Depth 1 is right on 90.5 % of your 200 validation pictures; chance does not explain its lead."
    assert reason(found) == f"{expected} {OTHER_TRAINING_PICTURES}"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"tolerance": 0.02}, "depth 2 is the cheapest of them that measured within 2 points of the best."),
        (
            {"tolerance": 0.01, "chosen": POINTS[1]},
            "depth 1 measured best, and the cheaper ones of them more than 1 point lower.",
        ),
        ({"pictures_needed": None}, "They are right on the same pictures, which cannot tell"),
        ({"pictures_needed": 99}, "would probably have shown: that takes about 99 pictures."),
        ({"independent": 10}, "your 200 validation pictures (10 groups)"),
        ({"fewest_seeds": 1}, "so how seeds vary is not in this."),
        ({"depths": 1}, "Depth 2 was the only one tried."),
    ],
)
def test_each_fact_has_its_words(changes: dict, words: str) -> None:
    assert words in reason(replace(FOUND, **changes))


def test_cross_validation_is_named() -> None:
    assert "your 200 pictures, validated by 5-fold cross-validation" in reason(FOUND, folds=5)


@pytest.mark.parametrize(
    ("depths", "words"),
    [
        ([], ""),
        ([3], "3"),
        ([1, 0], "0 and 1"),
        ([0, 1, 2, 3], "0 to 3"),
        ([0, 2, 3, 4, 6], "0, 2 to 4 and 6"),
        ([0, 1, 2, 3, 5, 7, 8, 9], "0 to 3, 5 and 7 to 9"),
    ],
)
def test_depths_in_a_row_are_a_range(depths: list[int], words: str) -> None:
    assert ranges(depths) == words
