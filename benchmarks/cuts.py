"""Heads on several cuts beside heads on the last one: the table of docs/heads.md.

    OMP_NUM_THREADS=2 python benchmarks/cuts.py --data ../shared/data --weights ../shared/weights

For each data set, source and number of training pictures a class, five draws of these: cuts chosen by
out-of-fold predictions of them, and what the solved heads are worth on the test pictures. Features are kept
below scratch/.
"""

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from command import arguments
from cut_features import SETS, SOURCES, Pooled, pooled
from data_sets import of_each_class
from pages import RESULTS, fill, interval, table

from thawline.artifacts import write_json
from thawline.statistics.paired import difference_interval
from thawline.training.solve.choice import choose_cuts
from thawline.training.solve.logistic import logistic_head
from thawline.training.solve.targets import Targets

DRAWS = 5
NAMES = (
    *("data", "source", "a class", "last cut", "chosen cuts", "gain (95 %)"),
    *("several", "harmed", "peak", "seconds"),
)
log = logging.getLogger("cuts")


@dataclass(frozen=True, eq=False)
class Row:
    """One line: `correct` and `last` (draws, test pictures) of heads on the chosen cuts and on the last one,
    `read` the cuts of each draw, `peak` the best single ones out of fold, `seconds` of a choice."""

    name: str
    source: str
    each: int | None
    correct: np.ndarray
    last: np.ndarray
    read: list[tuple[int, ...]]
    peak: list[int]
    seconds: float

    @property
    def gains(self) -> np.ndarray:
        """(draws,) shares."""
        return self.correct.mean(1) - self.last.mean(1)

    def cells(self) -> list[str]:
        """Of the table in Markdown."""
        clusters = np.arange(self.correct.shape[1])
        ends = difference_interval(self.correct, self.last, clusters, 0.95)
        several = sum(len(cuts) > 1 for cuts in self.read)
        gain = interval(self.gains.mean(), *ends, "+.3f") if several else "0"
        return [
            *(self.name, self.source, "all" if self.each is None else str(self.each)),
            *(f"{self.last.mean():.3f}", f"{self.correct.mean():.3f}", gain),
            *(f"{several} of {len(self.read)}", str(int((self.gains < 0).sum()))),
            *(", ".join(map(str, sorted(set(self.peak)))), f"{self.seconds:.1f}"),
        ]


def measured(name: str, source: str, found: Pooled, each: int | None) -> Row:
    """Choose and solve on some training pictures, and ask about the test pictures."""
    correct, last, read, peak, seconds = [], [], [], [], []
    for draw in range(1 if each is None else DRAWS):
        rows = found.train
        if each is not None:
            rows = of_each_class(found.labels, np.flatnonzero(found.train), each, draw)
        targets, taught = Targets(found.labels[rows], found.classes), found.cuts(rows)
        started = time.process_time()
        choice = choose_cuts(taught, targets)
        seconds.append(time.process_time() - started)
        for cuts, kept in ((choice.cuts, correct), ((max(taught),), last)):
            head = logistic_head([taught[cut] for cut in cuts], targets)
            kept.append(found.right(head, depths=cuts).astype(float))
        read.append(choice.cuts)
        peak.append(max(choice.singles, key=lambda depth: choice.singles[depth].accuracy))
    return Row(name, source, each, np.stack(correct), np.stack(last), read, peak, float(np.mean(seconds)))


def rows(data: Path, weights: Path) -> Iterator[Row]:
    for name in SETS:
        for source in SOURCES:
            found = pooled(name, source, data, weights)
            fewest = int(np.bincount(found.labels[found.train]).min())
            for each in (10, 20, 40):
                if each < fewest:
                    yield measured(name, source, found, each)
            yield measured(name, source, found, None)


def main() -> None:
    parser = arguments(__doc__, data=True)
    parser.add_argument("--weights", type=Path, required=True, help="of mobilenet_v2_body.safetensors")
    chosen = parser.parse_args()
    found = []
    for row in rows(chosen.data, chosen.weights):
        log.info("%s", " | ".join(row.cells()))
        found.append({"cells": row.cells(), "gains": row.gains.tolist(), "read": row.read, "peak": row.peak})
    gains = np.concatenate([each["gains"] for each in found])
    log.info(
        "%d choices: mean gain %+.3f, harmed %d, worst %+.3f",
        *(len(gains), gains.mean(), (gains < 0).sum(), gains.min()),
    )
    write_json(RESULTS / "cuts.json", found)
    fill("heads.md", {"cuts": table(NAMES, [each["cells"] for each in found])})


if __name__ == "__main__":
    main()
