"""How often the intervals hold the truth: the tables "coverage" of docs/search.md.

    python benchmarks/coverage.py [--studies N]

Test sets are simulated whose true accuracy is known. Beside the project's intervals stand Wilson's, which
takes pictures for independent and seeds for equal, and the percentiles of resampled pictures and seeds.
95 % is asked for throughout.
"""

import logging
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from command import arguments
from pages import RESULTS, table
from scipy.special import ndtr, ndtri, softmax

from thawline.artifacts import write_json
from thawline.evaluation.compare import Compared, difference_intervals, intervals
from thawline.evaluation.metrics import METRICS, contributions, measure
from thawline.statistics.intervals import accuracy_interval

STUDIES = 300
"""Simulated test sets for each row: a share of 0.95 is then seen to within 0.025."""
RESAMPLED = 60
"""How many of them are resampled for the percentile intervals, which takes most of the time."""
RESAMPLES = 200
"""Of each percentile interval."""
log = logging.getLogger("coverage")


@dataclass(frozen=True)
class Accuracy:
    """Test sets of one kind. `promised` says whether docs/search.md promises 93 % for it.

    `deviation` is the standard deviation of the seeds' accuracies, `alike` the correlation of one picture's
    answers over seeds, `correlation` that of the pictures of one group.
    """

    promised: bool
    pictures: int
    accuracy: float
    seeds: int = 1
    deviation: float = 0.0
    alike: float = 0.0
    group_size: int = 1
    correlation: float = 0.0

    def draw(self, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Draw (seeds, pictures) of right and wrong answers, and the groups of the pictures."""
        groups = np.arange(self.pictures) // self.group_size
        levels = np.clip(random.normal(self.accuracy, self.deviation, (self.seeds, 1)), 0, 1)
        if self.correlation:
            shape = (1 - self.correlation) / self.correlation
            easy = random.beta(self.accuracy * shape, (1 - self.accuracy) * shape, groups.max() + 1)
            return (random.random(self.pictures) < easy[groups])[None].astype(float), groups
        common, own = random.normal(size=self.pictures), random.normal(size=(self.seeds, self.pictures))
        hard = self.alike**0.5 * common + (1 - self.alike) ** 0.5 * own
        return (ndtr(hard) < levels).astype(float), groups


def settings() -> Iterator[Accuracy]:
    """Yield the rows of the first table."""
    for pictures in (30, 100, 1700):
        for accuracy in (0.5, 0.9, 0.98, 0.99):
            yield Accuracy(True, pictures, accuracy)
    for pictures, accuracy in ((10, 0.9), (10, 0.99), (30, 0.999)):
        yield Accuracy(False, pictures, accuracy)
    for seeds in (3, 5):
        for pictures, accuracy, deviation in (
            *((30, 0.9, 0.0), (30, 0.94, 0.03), (100, 0.9, 0.01), (100, 0.94, 0.03)),
            *((400, 0.7, 0.02), (1700, 0.94, 0.03), (1700, 0.98, 0.01), (1700, 0.99, 0.0)),
        ):
            for alike in (0.0, 0.8):
                yield Accuracy(True, pictures, accuracy, seeds, deviation, alike)
    yield Accuracy(False, 400, 0.9, 2, 0.02, 0.5)
    yield Accuracy(False, 400, 0.9, 3, 0.06, 0.5)
    yield Accuracy(False, 400, 0.98, 3, 0.03, 0.5)
    for pictures, size in ((30, 2), (120, 8), (400, 8), (1600, 8), (600, 4)):
        for accuracy, correlation in ((0.7, 0.5), (0.95, 0.2), (0.95, 0.5), (0.99, 0.5)):
            yield Accuracy(True, pictures, accuracy, group_size=size, correlation=correlation)
    yield Accuracy(False, 64, 0.9, group_size=8, correlation=0.5)
    yield Accuracy(False, 400, 0.95, group_size=20, correlation=0.5)
    yield Accuracy(False, 400, 0.95, group_size=8, correlation=0.9)


def holds(ends: tuple[float, float], truth: float) -> bool:
    return ends[0] - 1e-12 <= truth <= ends[1] + 1e-12


def wilson(correct: np.ndarray) -> tuple[float, float]:
    """Return Wilson's interval of the mean over seeds, on so many pictures."""
    mean, pictures, z = float(correct.mean()), correct.shape[1], float(ndtri(0.975))
    middle = mean + z**2 / (2 * pictures)
    half = z * (mean * (1 - mean) / pictures + (z / (2 * pictures)) ** 2) ** 0.5
    return (middle - half) / (1 + z**2 / pictures), (middle + half) / (1 + z**2 / pictures)


def percentiles(values: np.ndarray, groups: np.ndarray, random: np.random.Generator) -> tuple[float, float]:
    """Return the 2.5th and 97.5th percentile of resampled means of (S, N) `values`."""
    seeds, count = len(values), int(groups.max()) + 1
    sums = np.stack([np.bincount(groups, row) for row in values])
    drawn = random.integers(0, count, (RESAMPLES, count)) + count * np.arange(RESAMPLES)[:, None]
    times = np.bincount(drawn.ravel(), minlength=RESAMPLES * count).reshape(RESAMPLES, count)
    of_seeds = random.multinomial(max(1, seeds - 1), np.full(seeds, 1 / seeds), RESAMPLES)
    means = np.einsum("rs,sr->r", of_seeds / of_seeds.sum(1, keepdims=True), sums @ times.T)
    low, high = np.quantile(means / (times @ np.bincount(groups)), [0.025, 0.975])
    return float(low), float(high)


def accuracy_row(setting: Accuracy, studies: int) -> dict[str, Any]:
    """Return how often each interval held the true accuracy, and how wide ours and Wilson's were."""
    random = np.random.default_rng(zlib.crc32(repr(setting).encode()))
    seen: dict[str, list[bool]] = {"ours": [], "wilson": [], "percentiles": []}
    widths: dict[str, list[float]] = {"ours": [], "wilson": []}
    for study in range(studies):
        correct, groups = setting.draw(random)
        found = {"ours": accuracy_interval(correct, 0.95, groups), "wilson": wilson(correct)}
        if study < RESAMPLED:
            found["percentiles"] = percentiles(correct, groups, random)
        for name, ends in found.items():
            seen[name].append(holds(ends, setting.accuracy))
            if name in widths:
                widths[name].append(ends[1] - ends[0])
    shares = {name: float(np.mean(each)) for name, each in seen.items()}
    wide = {f"{name}_width": round(float(np.median(each)), 4) for name, each in widths.items()}
    return {**asdict(setting), **shares, **wide}


@dataclass(frozen=True)
class World:
    """Pictures of classes with the given frequencies, and models that answer with probabilities.

    `strength` says how well classes can be told apart, `sharpness` how much surer the models are than they
    should be, `deviation` how much the strength of seeds differs. Half of what makes a picture hard is
    common to all models.
    """

    name: str
    pictures: int
    seeds: int
    frequencies: tuple[float, ...]
    strength: float
    sharpness: float = 1.0
    deviation: float = 0.0

    def draw(self, random: np.random.Generator, pictures: int, contenders: int) -> list[list[Any]]:
        """Return what each picture adds to the metrics of every seed of each contender."""
        shares = np.array(self.frequencies) / sum(self.frequencies)
        labels = random.choice(len(shares), pictures, p=shares)
        common = random.normal(size=(pictures, len(shares)))
        return [[self._answer(random, labels, common) for _ in range(self.seeds)] for _ in range(contenders)]

    def _answer(self, random: np.random.Generator, labels: np.ndarray, common: np.ndarray) -> Any:
        strength = random.normal(self.strength, self.deviation)
        seen = (common + random.normal(size=common.shape)) / 2**0.5
        seen[np.arange(len(labels)), labels] += strength
        return contributions(labels, softmax(self.sharpness * strength * seen, axis=1), 15)


WORLDS = (
    World("ten classes", 100, 1, (1.0,) * 10, 3.0),
    World("ten classes", 1700, 3, (1.0,) * 10, 3.0, deviation=0.1),
    World("ten classes, too sure", 100, 1, (1.0,) * 10, 2.5, 3.0),
    World("ten classes, hard", 300, 3, (1.0,) * 10, 1.5, 1.3, 0.05),
    World("two classes, 99 % right", 30, 1, (1.0, 1.0), 3.3),
    World("two classes, 99 % right", 200, 3, (1.0, 1.0), 3.3),
    World("two classes, 9 to 1", 100, 1, (9.0, 1.0), 2.0),
    World("five classes, 50 to 5", 400, 3, (50.0, 20.0, 15.0, 10.0, 5.0), 2.5, deviation=0.05),
)


def metric_rows(world: World, studies: int) -> list[dict[str, Any]]:
    """Return for each metric how often its interval, and that of the difference of equals, held the truth."""
    random = np.random.default_rng(zlib.crc32(repr(world).encode()))
    # the truth is that of many seeds on many more pictures than any study has
    many = [model for _ in range(max(1, 60 // world.seeds)) for model in world.draw(random, 6000, 1)[0]]
    truth = np.mean([measure(model) for model in many], axis=0)
    seen: list[list[list[float]]] = []
    for study in range(studies):
        first, second = (Compared.of(models) for models in world.draw(random, world.pictures, 2))
        everyone = np.arange(world.pictures)
        own = intervals(first, everyone, 0.95)
        between = difference_intervals(first, second, everyone, 0.95)
        seen.append(
            [
                [
                    holds((own[name]["low"], own[name]["high"]), truth[place]),
                    holds(percentiles(first.values[place], everyone, random), truth[place])
                    if study < RESAMPLED
                    else np.nan,
                    holds((between[name]["low"], between[name]["high"]), 0.0),
                ]
                for place, name in enumerate(METRICS)
            ]
        )
    shares = np.nanmean(seen, axis=0)
    named = {"world": world.name, "pictures": world.pictures, "seeds": world.seeds}
    columns = ("ours", "percentiles", "difference")
    return [
        {**named, "metric": name, "truth": float(truth[place]), **dict(zip(columns, row, strict=True))}
        for place, (name, row) in enumerate(zip(METRICS, shares.tolist(), strict=True))
    ]


def accuracy_table(rows: list[dict[str, Any]]) -> str:
    """Return the first table of the page."""
    names = ("promised", "pictures", "in groups of (correlation)", "seeds (deviation, alike)")
    names += ("true accuracy", "covered", "Wilson", "percentiles", "median width", "Wilson's")
    lines = []
    for row in rows:
        groups = f"{row['group_size']} ({row['correlation']:g})" if row["group_size"] > 1 else ""
        seeds = f"{row['seeds']} ({row['deviation']:g}, {row['alike']:g})" if row["seeds"] > 1 else "1"
        seen = ("ours", "wilson", "percentiles", "ours_width", "wilson_width")
        first = ("yes" if row["promised"] else "no", f"{row['pictures']:,}", groups, seeds)
        lines.append([*first, f"{row['accuracy']:g}", *(f"{row[name]:.3f}" for name in seen)])
    return table(names, lines, "|---")


def metric_table(rows: list[dict[str, Any]]) -> str:
    """Return the second table of the page."""
    names = ("pictures of", "pictures", "seeds", "metric", "truth", "covered", "percentiles")
    shares = ("truth", "ours", "percentiles", "difference")
    lines = [
        [row["world"], f"{row['pictures']:,}", str(row["seeds"]), row["metric"]]
        + [f"{row[name]:.3f}" for name in shares]
        for row in rows
    ]
    return table((*names, "difference of equals"), lines, "|---")


def tables(found: dict[str, list[dict[str, Any]]]) -> dict[str, str]:
    return {"accuracy": accuracy_table(found["accuracy"]), "metrics": metric_table(found["metrics"])}


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--studies", type=int, default=STUDIES, help="simulated test sets for each row")
    studies = parser.parse_args().studies
    found = {
        "accuracy": [accuracy_row(setting, studies) for setting in settings()],
        "metrics": [row for world in WORLDS for row in metric_rows(world, studies)],
    }
    write_json(RESULTS / "coverage.json", found)
    log.info("%s", "\n\n".join(tables(found).values()))


if __name__ == "__main__":
    main()
