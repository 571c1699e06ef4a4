"""Heads solved on pictures and their mirror images, and on the pictures alone: a table of docs/heads.md.

    OMP_NUM_THREADS=2 python benchmarks/mirror.py --data ../shared/data --weights ../shared/weights

Photographs whose mirror images keep their labels. For each data set, source and number of training pictures a
class, five draws of these: heads on the cuts that out-of-fold predictions of the pictures as they are choose.
Taken are mirror images as a plan takes them, where they help on pictures left out. Test pictures are not
mirrored. Features are kept below scratch/.
"""

import logging
from pathlib import Path

import numpy as np
from command import arguments
from cut_features import SOURCES, Pooled, pooled
from data_sets import of_each_class
from pages import fill, interval, table

from thawline.statistics.paired import difference_interval
from thawline.training.solve.choice import choose_cuts
from thawline.training.solve.logistic import logistic_head
from thawline.training.solve.mirrored import mirror_images_teach
from thawline.training.solve.targets import Targets

SETS = ("rsscn7", "hotdog256", "antsbees256")
SIZES = (10, 20, 40, None)
DRAWS = 5
NAMES = ("data", "source", "a class", "pictures alone", "with mirror images", "gain (95 %)", "taken", "gain")
log = logging.getLogger("mirror")


def correct(found: Pooled, mirrored: Pooled, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, bool]:
    """Return (test pictures,) on which a head on the pictures `rows` is right, and one on their mirror images
    as well; and whether pictures left out say that this one is better."""
    labels, classes = found.labels[rows], found.classes
    taught, beside = found.cuts(rows), mirrored.cuts(rows)
    plain = Targets(labels, classes)
    cuts = choose_cuts(taught, plain).cuts
    both = [np.concatenate([taught[cut], beside[cut]]) for cut in cuts]
    alone, images = ([each[cut] for cut in cuts] for each in (taught, beside))
    heads = logistic_head(alone, plain), logistic_head(both, plain.of_variants(2))
    one, two = (found.right(head, depths=cuts).astype(float) for head in heads)
    return one, two, mirror_images_teach(alone, images, plain)


def measured(name: str, source: str, found: Pooled, mirrored: Pooled, each: int | None) -> list[str]:
    """Return the cells of one row."""
    everything = np.flatnonzero(found.train)
    draws = (
        [everything]
        if each is None
        else [np.flatnonzero(of_each_class(found.labels, everything, each, draw)) for draw in range(DRAWS)]
    )
    alone, both, taken = (
        np.stack(part) for part in zip(*(correct(found, mirrored, rows) for rows in draws), strict=True)
    )
    ends = difference_interval(both, alone, np.arange(alone.shape[1]), 0.95)
    gain = interval((both - alone).mean(), *ends, "+.3f")
    size = "all" if each is None else str(each)
    followed = (both - alone)[taken].sum() / alone.size
    often = f"{taken.sum()} of {len(taken)}"
    return [name, source, size, f"{alone.mean():.3f}", f"{both.mean():.3f}", gain, often, f"{followed:+.3f}"]


def rows(data: Path, weights: Path) -> list[list[str]]:
    """Return the cells of all rows."""
    lines = []
    for name in SETS:
        for source in SOURCES:
            found = pooled(name, source, data, weights)
            mirrored = pooled(name, source, data, weights, mirrored=True)
            fewest = int(np.bincount(found.labels[found.train]).min())
            for each in SIZES:
                if each is None or each < fewest:
                    lines.append(measured(name, source, found, mirrored, each))
                    log.info("%s", " | ".join(lines[-1]))
    return lines


def main() -> None:
    parser = arguments(__doc__, data=True)
    parser.add_argument("--weights", type=Path, required=True, help="of mobilenet_v2_body.safetensors")
    chosen = parser.parse_args()
    fill("heads.md", {"mirror": table(NAMES, rows(chosen.data, chosen.weights))})


if __name__ == "__main__":
    main()
