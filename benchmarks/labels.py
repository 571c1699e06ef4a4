"""Labels worth a second look, and what more pictures would bring: is what the stage `review` says true?

    python benchmarks/labels.py --data ../shared/data

`hotdog256` and `rsscn7`, features of EfficientNet-Lite0's ImageNet weights at 224 pixels. Labels: 5 % of
those of the training pictures are changed to another class, three seeds. More pictures: the curve is that of
half of the pictures, and heads that all of them teach are asked about pictures that none of these saw, six
draws. Results go to benchmarks/results/labels.json and into docs/labels.md.
"""

import logging
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
from command import arguments
from cut_features import Pooled, of_lite0
from pages import RESULTS, fill, table

from thawline.artifacts import write_json
from thawline.review.heads import look
from thawline.review.labels import ranking
from thawline.review.more_pictures import drawn_out
from thawline.training.solve.logistic import logistic_head
from thawline.training.solve.targets import Targets

log = logging.getLogger("labels")
SETS = ("hotdog256", "rsscn7")
FLIPPED, FIRST, LABEL_SEEDS, DRAWS = 0.05, 20, 3, 6
HALVES = {"hotdog256": (40, 80, 160, 320), "rsscn7": (70, 140, 280)}
"""Pictures that the curve is measured on."""
LABELS = (
    *("data", "pictures", "flipped", "doubtful", "flipped among them"),
    *("precision of the first 20", "recall"),
)
MORE = (
    *("data", "pictures", "gain of twice as many", "said to be"),
    *("holds the mean gain", "holds the accuracy"),
)


def flips(found: Pooled, name: str) -> Iterator[dict[str, Any]]:
    """Change labels and look for them."""
    rows = np.flatnonzero(found.train)
    truth, cuts, classes = found.labels[rows], [found.last[rows]], found.classes
    for seed in range(LABEL_SEEDS):
        generator = np.random.default_rng(seed)
        flipped = generator.choice(len(rows), round(FLIPPED * len(rows)), replace=False)
        given = truth.copy()
        given[flipped] = (truth[flipped] + generator.integers(1, classes, len(flipped))) % classes
        started = time.process_time()
        looked = look(cuts, Targets(given, classes), 4, seed)
        assert looked is not None
        ranked = ranking(given, looked.probabilities)
        wrong = np.isin(ranked.order, flipped)
        yield {
            "data": name,
            "seed": seed,
            "pictures": len(rows),
            "flipped": len(flipped),
            "doubtful": ranked.doubtful,
            "flipped among them": int(wrong[: ranked.doubtful].sum()),
            "precision of the first 20": float(wrong[:FIRST].mean()),
            "recall": float(wrong[: ranked.doubtful].mean() * ranked.doubtful / len(flipped)),
            "seconds": time.process_time() - started,
        }


def halves(found: Pooled, name: str) -> Iterator[dict[str, Any]]:
    """Draw out the curve of half of the pictures and compare with all of them."""
    features, classes = found.last, found.classes
    for half in HALVES[name]:
        gains, said, held = [], [], []
        for seed in range(DRAWS):
            order = in_turns(found.labels, np.random.default_rng(seed))
            rest = np.sort(order[2 * half :])
            accuracy = []
            for taught in (np.sort(order[:half]), np.sort(order[: 2 * half])):
                head = logistic_head([features[taught]], Targets(found.labels[taught], classes))
                accuracy.append(float(found.right(head, rest).mean()))
            rows = np.sort(order[:half])
            looked = look([features[rows]], Targets(found.labels[rows], classes), 4, 0)
            assert looked is not None
            correct = np.stack([each.correct(found.labels[rows]) for each in looked.curve])
            sizes = np.array([each.pictures for each in looked.curve]) / half
            _, (_, low, high), gain = drawn_out(correct, sizes, np.arange(half), 0.95, 0)
            gains.append(accuracy[1] - accuracy[0])
            said.append(gain)
            held.append(low <= accuracy[1] <= high)
        yield {"data": name, "half": half, "gains": gains, "said": said, "held": held}


def in_turns(labels: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Shuffle the rows so that the first of them are as many of each class."""
    shuffled = generator.permutation(len(labels))
    place = np.empty(len(labels))
    for label in np.unique(labels):
        own = shuffled[labels[shuffled] == label]
        place[own] = np.arange(len(own)) / len(own)
    return np.argsort(place, kind="stable")


def label_cells(found: list[dict[str, Any]]) -> list[list[str]]:
    """Return the rows of the table of flipped labels, one for each set and seed."""
    return [[_shown(each[name]) for name in LABELS] for each in found]


def more_cells(found: list[dict[str, Any]]) -> list[list[str]]:
    """Return the rows of the table of drawn-out curves, one for each set and number of pictures."""
    cells = []
    for each in found:
        gain, (low, high) = float(np.mean(each["gains"])), np.mean(each["said"], axis=0)
        right = [least <= gain <= most for least, most in each["said"]]
        draws = len(each["gains"])
        cells.append(
            [
                *(each["data"], f"{each['half']} → {2 * each['half']}", f"{100 * gain:+.1f}"),
                *(f"{100 * low:+.1f} to {100 * high:+.1f}", f"{sum(right)} of {draws}"),
                f"{sum(each['held'])} of {draws}",
            ]
        )
    return cells


def _shown(value: Any) -> str:
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def tables(found: dict[str, list[dict[str, Any]]]) -> dict[str, str]:
    """Return the tables of the page by their marks."""
    return {
        "flips": table(LABELS, label_cells(found["labels"])),
        "more": table(MORE, more_cells(found["more"])),
    }


def main() -> None:
    chosen = arguments(__doc__, data=True).parse_args()
    features = of_lite0(SETS, chosen.data)
    labels = [row for name, each in features.items() for row in flips(each, name)]
    more = [row for name, each in features.items() for row in halves(each, name)]
    took = np.mean([row.pop("seconds") for row in labels])
    log.info("%.1f s of processor time for each look at the labels", took)
    found = {"labels": labels, "more": more}
    write_json(RESULTS / "labels.json", found)
    fill("labels.md", tables(found))


if __name__ == "__main__":
    main()
