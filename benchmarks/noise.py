"""Labels that are wrong: what robust losses and weights from confident learning are worth.

    python benchmarks/noise.py --data ../shared/data

`rsscn7` and `hotdog256`, solved heads on features of EfficientNet-Lite0's ImageNet weights at 224 pixels. A
share of the training labels is changed, to any other class (symmetric) or to the next one (pairwise); the
test pictures keep theirs. Each remedy is compared with a plain head on the same labels, on 280 pictures,
five draws. Results go to benchmarks/results/noise.json as they come, where a second call goes on, and into
docs/weak_supervision.md.
"""

import logging
from collections.abc import Callable, Iterator
from itertools import product

import numpy as np
from command import arguments
from cut_features import Pooled, of_lite0
from data_sets import of_each_class
from kept import Cells, digits, of_digits
from pages import RESULTS, fill, interval, table

from thawline.config.choices import LossName
from thawline.statistics.paired import difference_interval
from thawline.supervise.doubt import doubted
from thawline.training.robust import Loss
from thawline.training.solve.logistic import logistic_head
from thawline.training.solve.targets import Targets

log = logging.getLogger("noise")
SETS, SEEDS, CONFIDENCE, TAUGHT = ("rsscn7", "hotdog256"), 5, 0.95, 280
SYMMETRICALLY = (("none", 0.0), ("symmetric", 0.2), ("symmetric", 0.4))
NOISE = {"rsscn7": (*SYMMETRICALLY, ("pairwise", 0.2), ("pairwise", 0.4)), "hotdog256": SYMMETRICALLY}
"""Of two classes, the next one is the only other one."""
GENERALISED, SYMMETRIC = Loss(LossName.generalised, 0.7), Loss(LossName.symmetric, 0.9)

Remedy = Callable[[list[np.ndarray], Targets, int], Targets]


def weighed(cuts: list[np.ndarray], targets: Targets, seed: int) -> Targets:
    """Let doubted labels count less."""
    counted = doubted(cuts, targets, 4, seed).weights
    rows = np.eye(targets.classes)[targets.labels] * counted[:, None]
    return Targets(targets.labels, targets.classes, given=rows)


def by_loss(loss: Loss) -> Remedy:
    """Take another loss."""
    return lambda _, targets, __: Targets(targets.labels, targets.classes, loss=loss)


REMEDIES: dict[str, Remedy] = {
    "plain": lambda _, targets, __: targets,
    "generalised": by_loss(GENERALISED),
    "symmetric": by_loss(SYMMETRIC),
    "weigh": weighed,
}


def flipped(truth: np.ndarray, kind: str, share: float, seed: int) -> np.ndarray:
    """Return labels of which `share` are wrong."""
    generator, classes = np.random.default_rng(seed), int(truth.max()) + 1
    rows = generator.choice(len(truth), round(share * len(truth)), replace=False)
    by = generator.integers(1, classes, len(rows)) if kind == "symmetric" else 1
    given = truth.copy()
    given[rows] = (truth[rows] + by) % classes
    return given


def taught(found: Pooled, seed: int) -> np.ndarray:
    """Return training pictures, as many of each class, drawn by `seed`."""
    each = TAUGHT // found.classes
    return np.flatnonzero(of_each_class(found.labels, np.flatnonzero(found.train), each, seed))


def correct(found: Pooled, kind: str, share: float, remedy: str, seed: int) -> str:
    """Return 1 for each test picture that a head on noisy labels is right on, else 0."""
    rows = taught(found, seed)
    cuts = [found.last[rows]]
    targets = Targets(flipped(found.labels[rows], kind, share, seed), found.classes)
    head = logistic_head(cuts, REMEDIES[remedy](cuts, targets, seed))
    return digits(found.right(head))


def measured(found: dict[str, Pooled]) -> Cells:
    """Measure what an earlier call has not."""
    results = Cells(RESULTS / "noise.json")
    for name, features in found.items():
        for (kind, share), seed, remedy in product(NOISE[name], range(SEEDS), REMEDIES):
            key = f"{name} {kind} {share} {remedy} {seed}"
            right = results.measured(key, correct, features, kind, share, remedy, seed)
            log.info("%s: %.3f", key, of_digits(right).mean())
    return results


def tables(results: dict[str, str]) -> dict[str, str]:
    names = ["data", "wrong labels", "plain", *(f"{each}, points" for each in REMEDIES if each != "plain")]
    return {"noise": table(names, cells(results))}


def cells(results: dict[str, str]) -> Iterator[list[str]]:
    """Yield a line for each set and noise: accuracy of a plain head, and what each remedy gains."""
    for name in SETS:
        for kind, share in NOISE[name]:
            of = {each: rows_of(results, f"{name} {kind} {share} {each}") for each in REMEDIES}
            plain = of.pop("plain")
            gains = [gain(rows, plain) for rows in of.values()]
            noise = "none" if not share else f"{share:.0%} {kind}"
            yield [name, noise, f"{plain.mean():.3f}", *gains]


def rows_of(results: dict[str, str], key: str) -> np.ndarray:
    """Return (seeds, pictures) of what was measured."""
    return np.array([of_digits(results[f"{key} {seed}"]) for seed in range(SEEDS)])


def gain(rows: np.ndarray, plain: np.ndarray) -> str:
    """Return the difference in points and its interval, paired by picture and by draw."""
    gained = rows - plain
    ends = difference_interval(gained, 0 * gained, np.arange(rows.shape[1]), CONFIDENCE)
    return interval(rows.mean() - plain.mean(), *ends, "+.1f", 100)


def main() -> None:
    chosen = arguments(__doc__, data=True).parse_args()
    fill("weak_supervision.md", tables(measured(of_lite0(SETS, chosen.data))))


if __name__ == "__main__":
    main()
