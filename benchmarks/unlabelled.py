"""Unlabelled pictures: what do they add to few labelled ones, and is that found out beforehand?

    OMP_NUM_THREADS=1 python benchmarks/unlabelled.py --data ../shared/data

5 and 20 labelled training pictures of each class, the rest of them without labels, six draws; features of
EfficientNet-Lite0's ImageNet weights at 224 pixels; heads are solved and asked about the test pictures. The
unlabelled ones are these (`same`), these with other shares of the classes (`skewed`), these and as many of
another data set (`mixed`), or those of the other data set alone (`foreign`). Each draw is stored as it is
done: the same command goes on. Results go to benchmarks/results/unlabelled.json and into
docs/weak_supervision.md.
"""

import logging
import time
import warnings
from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np
from command import arguments
from cut_features import Pooled, of_lite0
from data_sets import of_each_class
from kept import Cells, digits, of_digits
from pages import RESULTS, fill, table

from thawline.statistics.variance import spread_of
from thawline.supervise.unlabelled import SelfTrained, self_trained
from thawline.training.solve import self_training
from thawline.training.solve.logistic import logistic_head
from thawline.training.solve.self_training import WEIGHT, Known
from thawline.training.solve.targets import Targets

log = logging.getLogger("unlabelled")
SETS = {"rsscn7": "hotdog256", "hotdog256": "digits", "antsbees256": "rsscn7"}
"""Each set, and the other world that its foreign pictures come from."""
POOLS = {"same": (5, 20), "skewed": (5,), "mixed": (5,), "foreign": (5,)}
"""Each kind of unlabelled pictures, and how many of a class are labelled."""
DRAWS, REPEATS = 6, 4
CONFIDENCES = (0.95, 0.5)
WAYS = ("alone", "pseudo", "spread", "unaligned")


def draw(found: Pooled, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows of `count` labelled training pictures of each class, and of the other training pictures."""
    chosen = of_each_class(found.labels, np.flatnonzero(found.train), count, seed)
    return np.flatnonzero(chosen), np.flatnonzero(found.train & ~chosen)


def pool_of(
    kind: str, found: Pooled, other: Pooled, rest: np.ndarray, seed: int
) -> tuple[dict[int, np.ndarray], np.ndarray]:
    """What is there of the unlabelled pictures at every cut, and which of them are foreign."""
    generator = np.random.default_rng(1000 + seed)
    if kind == "skewed":
        # of each class between a tenth and all
        kept = 0.1 + 0.9 * generator.permutation(np.linspace(0, 1, found.classes))
        rest = rest[generator.random(len(rest)) < kept[found.labels[rest]]]
    own = found.cuts(rest)
    if kind in ("same", "skewed"):
        return own, np.zeros(len(rest), bool)
    foreign = other.cuts(generator.permutation(len(other.labels))[: len(rest)])
    if kind == "foreign":
        return foreign, np.ones(len(foreign[max(foreign)]), bool)
    both = {depth: np.concatenate([own[depth], foreign[depth]]) for depth in own}
    return both, np.arange(len(both[max(both)])) >= len(rest)


def ways(
    found: Pooled, labelled: np.ndarray, more: dict[int, np.ndarray], trained: SelfTrained, seed: int
) -> Iterator[tuple[str, np.ndarray]]:
    """Yield for each way of learning whether its head is right on each test picture."""
    classes, labels = found.classes, found.labels[labelled]

    def right(pseudo: np.ndarray | None) -> np.ndarray:
        rows = [found.means[depth][labelled] for depth in trained.cuts]
        targets, penalty = Targets(labels, classes), None
        if pseudo is not None:
            used = pseudo.any(1)
            others = [more[depth][trained.rows[used]] for depth in trained.cuts]
            rows = [np.concatenate(both) for both in zip(rows, others, strict=True)]
            given = np.concatenate([np.eye(classes)[labels], pseudo[used]])
            targets = Targets(given.argmax(1), classes, given=given)
            penalty = trained.penalty
        head = logistic_head(rows, targets, penalty=penalty)
        return found.right(head, depths=trained.cuts)

    yield "alone", right(None)
    if not len(trained.rows):
        return
    own, others = trained.coordinates
    known = Known(own, Targets(labels, classes), others, trained.penalty)
    yield "pseudo", right(trained.pseudo)
    yield "spread", right(WEIGHT * spread(own, labels, others))
    aligned, self_training.TOWARDS = self_training.TOWARDS, 0.0
    yield "unaligned", right(self_training.pseudo_labels(known, seed))
    self_training.TOWARDS = aligned


def spread(own: np.ndarray, labels: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Shares of the classes (M, classes) by label spreading between the 7 nearest by cosine (Zhou et al.
    2004), 0 where nothing arrives."""
    from sklearn.semi_supervised import LabelSpreading

    rows = np.concatenate([own, others])
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    given = np.concatenate([labels, np.full(len(others), -1)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # rows that nothing arrives at are divided by 0, and not all converge
        model = LabelSpreading(kernel="knn", n_neighbors=7, alpha=0.2, max_iter=100).fit(rows, given)
    shares: np.ndarray = np.nan_to_num(model.label_distributions_[len(own) :])
    return shares


def one(found: Pooled, other: Pooled, kind: str, count: int, seed: int) -> dict[str, Any]:
    """Draw, decide and ask."""
    labelled, rest = draw(found, count, seed)
    more, foreign = pool_of(kind, found, other, rest, seed)
    started = time.process_time()
    trained = self_trained(
        found.cuts(labelled),
        more,
        np.arange(len(labelled)),
        Targets(found.labels[labelled], found.classes),
        unknown_share=0.01,
        repeats=REPEATS,
        seed=seed,
    )
    seconds = time.process_time() - started
    unlike = np.setdiff1d(np.arange(len(foreign)), trained.rows)
    right = dict(ways(found, labelled, more, trained, seed))
    return {
        "unlabelled": len(foreign),
        "foreign": int(foreign.sum()),
        "unlike": len(unlike),
        "unlike and foreign": int(foreign[unlike].sum()),
        "agreed": int(trained.pseudo.any(1).sum()),
        "cuts": list(trained.cuts),
        "gain": {str(each): list(trained.gain(each)) for each in CONFIDENCES},
        "kept": {str(each): trained.kept(each) for each in CONFIDENCES},
        "right": {way: digits(each) for way, each in right.items()},
        "seconds": seconds,
    }


def cells(name: str, kind: str, count: int, draws: list[dict[str, Any]]) -> list[str]:
    """A row of the table."""
    right = {
        way: np.array([of_digits(each["right"].get(way, each["right"]["alone"])) for each in draws])
        for way in WAYS
    }

    def gain(values: np.ndarray) -> str:
        # draws are paired, too: both learn from the same labelled pictures
        gained = values - right["alone"]
        half = spread_of(gained, np.arange(gained.shape[1])).half(0.95)
        return f"{100 * gained.mean():+.1f} ± {100 * half:.1f}"

    found = [name, str(count), kind, f"{np.mean([each['unlabelled'] for each in draws]):.0f}"]
    foreign = sum(each["foreign"] for each in draws)
    own = sum(each["unlabelled"] for each in draws) - foreign
    gone = sum(each["unlike and foreign"] for each in draws)
    found.append(f"{gone / foreign:.0%}" if foreign else "")
    found.append(f"{(sum(each['unlike'] for each in draws) - gone) / own:.0%}" if own else "")
    found += [f"{right['alone'].mean():.3f}", *(gain(right[way]) for way in WAYS[1:])]
    for confidence in map(str, CONFIDENCES):
        kept = np.array([each["kept"][confidence] for each in draws])
        chosen = np.where(kept[:, None], right["pseudo"], right["alone"])
        found.append(f"{kept.sum()} of {len(draws)}: {100 * (chosen.mean() - right['alone'].mean()):+.1f}")
    return found


HEADS = (
    *("data", "labelled a class", "unlabelled", "pictures", "foreign left out", "own left out"),
    *("labelled alone", "pseudo-labels", "label spreading", "without class shares"),
    *("kept at 95 %", "kept at 50 %"),
)


def tables(stored: dict[str, Any]) -> dict[str, str]:
    rows = [
        cells(name, kind, count, [stored[f"{name} {kind} {count} {seed}"] for seed in range(DRAWS)])
        for kind, counts in POOLS.items()
        for count, name in product(counts, SETS)
    ]
    return {"unlabelled": table(HEADS, rows)}


def main() -> None:
    chosen = arguments(__doc__, data=True).parse_args()
    features = of_lite0(dict.fromkeys([*SETS, *SETS.values()]), chosen.data)
    stored = Cells(RESULTS / "unlabelled.json")
    for kind, counts in POOLS.items():
        for count, (name, other), seed in product(counts, SETS.items(), range(DRAWS)):
            asked = (features[name], features[other], kind, count, seed)
            stored.measured(f"{name} {kind} {count} {seed}", one, *asked)
            log.info("%s %s %d %d", name, kind, count, seed)
    took = np.mean([each["seconds"] for each in stored.values()])
    log.info("%.1f s of processor time for a decision", took)
    fill("weak_supervision.md", tables(stored))


if __name__ == "__main__":
    main()
