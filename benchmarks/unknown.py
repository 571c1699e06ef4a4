"""Whether answers mean what they say: the tables of docs/answers.md.

    OMP_NUM_THREADS=2 python benchmarks/unknown.py --data ../shared/data

NAME.tar in the folder holds {train,test}/CLASS/FILE. For each set a head is solved on what EfficientNet-Lite0
with ImageNet weights makes of its training pictures. The model is asked about its test pictures, and about
pictures that it has no class for: of the other sets, digits and noise. Features are kept below scratch/cuts,
where benchmarks/cuts.py keeps them too.
"""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from command import arguments
from cut_features import SOURCES, of_lite0
from data_sets import SCRATCH, collected
from kept import arrays
from pages import interval, table
from scipy.special import softmax
from scipy.stats import rankdata

from thawline.artifacts import write_json
from thawline.data.batches import Batches
from thawline.evaluation.compare import Compared, difference_intervals, intervals
from thawline.evaluation.metrics import contributions
from thawline.models.answer import as_rows, scores
from thawline.models.cuts import units
from thawline.statistics.conformal import threshold_for
from thawline.statistics.intervals import accuracy_interval, resampled_share_interval
from thawline.statistics.temperature import temperature_of
from thawline.training.answering import NEIGHBOURS, from_others, left_out
from thawline.training.features.compute import features_in_memory
from thawline.training.solve.logistic import logistic_head
from thawline.training.solve.targets import Targets

SETS = ("rsscn7", "hotdog256", "antsbees256")
OTHERS = ("digits", "noise")
MOST = 200
"""Pictures of each kind that a model is asked about and has no class for."""
SHARES = (0.01, 0.05)
"""Of pictures like the training ones that may be called unknown."""
DRAWS, DIVISIONS, BINS = 1000, 50, 15
STRANGE = ("model", "asked about", "pictures", "ROC AUC (95 %)", "unknown at 1 %", "unknown at 5 %")
ALARMS = (
    *("model", "left out", "test pictures", "called unknown at 1 % (95 %)", "at 5 % (95 %)"),
    *("divided at random, at 1 %", "at 5 %"),
)
CALIBRATED = (
    *("model", "temperature", "log-loss", "with it", "difference (95 %)"),
    *("calibration error", "with it", "difference (95 %)"),
)
log = logging.getLogger("unknown")


@dataclass(frozen=True, eq=False)
class Model:
    """A solved head and how it answers: `features` (M, D) of its training pictures, rows of length 1, and the
    `thresholds` of `SHARES` by the scores of `held_out` pictures."""

    logits: np.ndarray
    temperature: float
    features: torch.Tensor
    thresholds: list[float]
    held_out: int

    def scores(self, values: np.ndarray) -> np.ndarray:
        """Return the unknown scores (N,) of features (N, D)."""
        found: np.ndarray = scores(as_rows(torch.from_numpy(values)), self.features, NEIGHBOURS).numpy()
        return found


def model_of(values: np.ndarray, labels: np.ndarray, asked: np.ndarray) -> Model:
    """Solve a head on features (M, D) of training pictures; its logits are those of the pictures `asked`."""
    cuts, targets = [values], Targets(labels, int(labels.max()) + 1)
    features = as_rows(torch.from_numpy(values)).half().float()
    held_out = left_out(cuts, targets, None, features, NEIGHBOURS)
    return Model(
        logistic_head(cuts, targets).logits([asked]),
        temperature_of(held_out.logits, labels),
        features,
        [threshold_for(held_out.distances, share)[0] for share in SHARES],
        len(held_out.distances),
    )


def strange(name: str) -> np.ndarray:
    """Return the features (MOST, D) of digits or of noise."""
    source = SOURCES["lite0"]

    def computed() -> dict[str, np.ndarray]:
        if name == "noise":
            pixels = np.random.default_rng(0).integers(0, 256, (MOST, 224, 224, 3), np.uint8)
        else:
            found = collected(name, Path())
            shown = (found.open(index).convert("RGB") for index in range(MOST))
            pixels = np.stack([source.transform.squared(each) for each in shown])
        network = source.build(Path()).eval()
        batches = Batches(pixels, np.zeros(MOST, int), source.transform, 20, shuffle=False)
        last = len(units(network))
        return {"values": features_in_memory(network, {last}, batches, torch.device("cpu"))[last]}

    return arrays(SCRATCH / "cuts" / f"{name}-{MOST}.npz", computed)["values"].reshape(MOST, -1)


def roc_auc(known: np.ndarray, strange: np.ndarray) -> float:
    """Return how often a strange picture has the higher score of two, equal ones counted half."""
    ranks = rankdata(np.concatenate([strange, known]))[: len(strange)]
    return float((ranks.sum() - len(strange) * (len(strange) + 1) / 2) / len(strange) / len(known))


def auc_cell(known: np.ndarray, strange: np.ndarray) -> str:
    generator = np.random.default_rng(0)
    draws = [
        roc_auc(generator.choice(known, len(known)), generator.choice(strange, len(strange)))
        for _ in range(DRAWS)
    ]
    mean = roc_auc(known, strange)
    return interval(
        mean, *resampled_share_interval(mean, np.array(draws), min(len(known), len(strange)), 0.95)
    )


def calibrated(name: str, labels: np.ndarray, model: Model) -> list[str]:
    """Return a row: log-loss and calibration error without and with the temperature."""
    said = [softmax(model.logits / temperature, axis=1) for temperature in (1.0, model.temperature)]
    before, after = (Compared.of([contributions(labels, each, BINS)]) for each in said)
    clusters = np.arange(len(labels))
    changed = difference_intervals(after, before, clusters, 0.95)
    both = [intervals(each, clusters, 0.95) for each in (before, after)]
    cells = [name, f"{model.temperature:.2f}"]
    for metric in ("log_loss", "expected_calibration_error"):
        cells += [f"{each[metric]['mean']:.3f}" for each in both]
        cells.append(interval(**changed[metric], form="+.3f"))
    return cells


def alarms(name: str, own: np.ndarray, model: Model, values: np.ndarray) -> list[str]:
    """Return a row: how many pictures with scores `own` (N,), like the training ones, are called unknown; and
    how many in the mean where training and test pictures, `values` (M + N, D), are divided at random."""
    cells = [name, str(model.held_out), str(len(own))]
    for threshold in model.thresholds:
        above = (own > threshold).astype(float)
        cells.append(interval(above.mean(), *accuracy_interval(above[None]), ".1%"))
    return [*cells, *(f"{share:.1%}" for share in at_random(values, model.held_out))]


def at_random(values: np.ndarray, taught: int) -> np.ndarray:
    """Return the share of pictures called unknown, for each of `SHARES`, in the mean over divisions."""
    every, found = as_rows(torch.from_numpy(values)), []
    for seed in range(DIVISIONS):
        order = torch.from_numpy(np.random.default_rng(seed).permutation(len(every)))
        features, others = every[order[:taught]], every[order[taught:]]
        alone = from_others(features, np.arange(taught), NEIGHBOURS)
        own = scores(others, features, NEIGHBOURS).numpy()
        found.append([(own > threshold_for(alone, share)[0]).mean() for share in SHARES])
    return np.mean(found, axis=0)


def rows(data: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield rows, each with the table that it belongs to."""
    sets = of_lite0(SETS, data)
    values = {name: found.last for name, found in sets.items()}
    asked: Mapping[str, np.ndarray] = {
        **{name: each[np.linspace(0, len(each) - 1, MOST).astype(int)] for name, each in values.items()},
        **{name: strange(name) for name in OTHERS},
    }
    for name, found in sets.items():
        taught, test = found.train, ~found.train
        model = model_of(values[name][taught], found.labels[taught], values[name][test])
        own = model.scores(values[name][test])
        yield "calibrated", calibrated(name, found.labels[test], model)
        yield "alarms", alarms(name, own, model, values[name])
        for other in (each for each in asked if each != name):
            theirs = model.scores(asked[other])
            called = [f"{(theirs > threshold).mean():.0%}" for threshold in model.thresholds]
            yield "strange", [name, other, str(len(theirs)), auc_cell(own, theirs), *called]


def main() -> None:
    chosen = arguments(__doc__, data=True).parse_args()
    names = {"calibrated": CALIBRATED, "alarms": ALARMS, "strange": STRANGE}
    found: dict[str, list[list[str]]] = {name: [] for name in names}
    for name, cells in rows(chosen.data):
        found[name].append(cells)
        log.info("| %s |", " | ".join(cells))
    write_json(SCRATCH / "unknown.json", found)
    for name, header in names.items():
        log.info("\n%s", table(header, found[name]))


if __name__ == "__main__":
    main()
