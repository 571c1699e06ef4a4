"""Voters in place of labels: Dawid and Skene's consensus against the majority.

    python benchmarks/votes.py --data ../shared/data

`rsscn7` and `hotdog256`, solved heads on features of EfficientNet-Lite0's ImageNet weights at 224 pixels.
Seven voters say what 280 training pictures show: five that err independently (accuracies of 0.9 to 0.5) and
two that say in 19 of 20 cases the same, of 0.6; each abstains from a fifth of the pictures. Test pictures
have their labels. The null case has five equal voters (0.7). Five draws. Results go to
benchmarks/results/votes.json as they come, where a second call goes on, and into docs/weak_supervision.md.
"""

import logging
from itertools import product

import numpy as np
from command import arguments
from cut_features import Pooled, of_lite0
from kept import Cells, digits, of_digits
from noise import SEEDS, SETS, gain, taught
from pages import RESULTS, fill, table

from thawline.data.votes import Votes
from thawline.statistics.votes import consensus, majority
from thawline.supervise.voted import voted
from thawline.training.solve.logistic import logistic_head
from thawline.training.solve.targets import Targets

log = logging.getLogger("votes")
DIFFERENT, EQUAL = (0.9, 0.8, 0.7, 0.6, 0.5, 0.6), (0.7,) * 5
VOTERS = {"seven, two of them copies": DIFFERENT, "five equal ones": EQUAL}
ALIKE, ABSTAINS = 0.95, 0.2
WAYS = ("labels", "majority", "majority, soft", "copies as two", "consensus")
Found = dict[str, dict[str, str]]


def votes_on(truth: np.ndarray, classes: int, voters: str, seed: int) -> np.ndarray:
    """Return (N, V) what voters say, -1 where they abstain."""
    generator = np.random.default_rng(seed)
    columns = [_voter(truth, classes, accuracy, generator) for accuracy in VOTERS[voters]]
    if VOTERS[voters] is DIFFERENT:
        other = generator.integers(classes, size=len(truth))
        columns.append(np.where(generator.random(len(truth)) < ALIKE, columns[-1], other))
    said = np.stack(columns, 1)
    return np.where(generator.random(said.shape) < ABSTAINS, -1, said)


def _voter(truth: np.ndarray, classes: int, accuracy: float, generator: np.random.Generator) -> np.ndarray:
    wrong = (truth + generator.integers(1, classes, len(truth))) % classes
    return np.where(generator.random(len(truth)) < accuracy, truth, wrong)


def shares_by(way: str, truth: np.ndarray, said: np.ndarray, classes: int) -> np.ndarray:
    """Return (N, classes) what a way of heeding voters teaches of each picture."""
    if way == "labels":
        return np.eye(classes)[truth]
    if way == "majority":
        return np.eye(classes)[majority(said, classes).argmax(1)]
    if way == "majority, soft":
        return majority(said, classes)
    if way == "copies as two":
        return consensus(said, classes)
    names = tuple(f"voter {each + 1}" for each in range(said.shape[1]))
    votes = Votes(names, said, np.full(len(truth), False))
    return voted(votes, majority(said, classes).argmax(1), classes, np.zeros(len(said), bool)).shares


def measured(found: dict[str, Pooled]) -> Found:
    """Measure what an earlier call has not."""
    results = Cells(RESULTS / "votes.json")
    for (name, features), voters, seed, way in product(found.items(), VOTERS, range(SEEDS), WAYS):
        key = f"{name} {voters} {way} {seed}"
        right = results.measured(key, one, features, voters, seed, way)["test"]
        log.info("%s: %.3f", key, of_digits(right).mean())
    return results


def one(found: Pooled, voters: str, seed: int, way: str) -> dict[str, str]:
    """Return which test pictures a head is right on, and which pictures were taught as what they show."""
    rows = taught(found, seed)
    truth = found.labels[rows]
    shares = shares_by(way, truth, votes_on(truth, found.classes, voters, seed), found.classes)
    targets = Targets(shares.argmax(1), found.classes, given=shares)
    right = found.right(logistic_head([found.last[rows]], targets))
    return {"test": digits(right), "taught": digits(shares.argmax(1) == truth)}


def tables(results: Found) -> dict[str, str]:
    names = ["data", "voters", "taught as", "taught rightly", "accuracy", "against the majority, points"]
    return {"votes": table(names, cells(results))}


def cells(results: Found) -> list[list[str]]:
    """Return a line for each set, voters and way: pictures taught rightly, accuracy, gain over the
    majority."""
    lines = []
    for name in SETS:
        for voters in VOTERS:
            of = {way: [results[f"{name} {voters} {way} {seed}"] for seed in range(SEEDS)] for way in WAYS}
            plain = np.array([of_digits(each["test"]) for each in of["majority"]])
            for way in WAYS:
                test = np.array([of_digits(each["test"]) for each in of[way]])
                told = np.mean([of_digits(each["taught"]).mean() for each in of[way]])
                gained = "" if way == "majority" else gain(test, plain)
                lines.append([name, voters, way, f"{told:.3f}", f"{test.mean():.3f}", gained])
    return lines


def main() -> None:
    chosen = arguments(__doc__, data=True).parse_args()
    fill("weak_supervision.md", tables(measured(of_lite0(SETS, chosen.data))))


if __name__ == "__main__":
    main()
