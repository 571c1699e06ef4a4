"""What the stage `review` found, as review.json holds it."""

from dataclasses import asdict, dataclass
from pathlib import Path

from thawline.artifacts import write_json


@dataclass(frozen=True)
class Suspect:
    """A picture whose label may be wrong.

    `path` is what the data set calls it, `confidence` (0..1) how sure heads that never saw the picture are of
    the class `likelier`, `thumbnail` the name of a file in the folder `pictures` beside review.json.
    """

    path: str
    label: str
    likelier: str
    confidence: float
    thumbnail: str


@dataclass(frozen=True)
class Point:
    """The accuracy (0..1) on other pictures of a head that so many pictures taught, with its interval."""

    pictures: int
    accuracy: float
    low: float
    high: float


@dataclass(frozen=True)
class MorePictures:
    """Accuracy against the number of pictures, rising; `twice` is what twice as many are expected to reach,
    None where that cannot be said; `sentence` says what follows."""

    points: tuple[Point, ...]
    twice: Point | None
    sentence: str


@dataclass(frozen=True)
class Review:
    """The labels worth a second look, the worst first; `doubtful` counts them all, of so many `pictures`,
    also where `labels` shows only the first. `sentence` says how many there are."""

    pictures: int
    doubtful: int
    sentence: str
    labels: tuple[Suspect, ...]
    more_pictures: MorePictures


def write_review(path: Path, review: Review) -> None:
    """Write review.json; equal findings give equal bytes."""
    write_json(path, asdict(review))
