"""The form of review.json, which the report and the page read."""

import json
from pathlib import Path

from thawline.review.findings import MorePictures, Point, Review, Suspect, write_review

FOUND = Review(
    pictures=300,
    doubtful=1,
    sentence="1 of 300 labels is worth a second look.",
    labels=(Suspect("train/cat/7.jpg", "cat", "dog", 0.97, "01.webp"),),
    more_pictures=MorePictures(
        (Point(120, 0.8, 0.75, 0.85), Point(240, 0.86, 0.82, 0.9)),
        Point(600, 0.89, 0.87, 0.92),
        "Twice as many pictures: +1 to +4 points.",
    ),
)


def test_the_form_of_the_file(tmp_path: Path) -> None:
    write_review(tmp_path / "review.json", FOUND)
    assert json.loads((tmp_path / "review.json").read_text()) == {
        "pictures": 300,
        "doubtful": 1,
        "sentence": "1 of 300 labels is worth a second look.",
        "labels": [
            {
                "path": "train/cat/7.jpg",
                "label": "cat",
                "likelier": "dog",
                "confidence": 0.97,
                "thumbnail": "01.webp",
            }
        ],
        "more_pictures": {
            "points": [
                {"pictures": 120, "accuracy": 0.8, "low": 0.75, "high": 0.85},
                {"pictures": 240, "accuracy": 0.86, "low": 0.82, "high": 0.9},
            ],
            "twice": {"pictures": 600, "accuracy": 0.89, "low": 0.87, "high": 0.92},
            "sentence": "Twice as many pictures: +1 to +4 points.",
        },
    }
