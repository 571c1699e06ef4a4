"""The content of metrics.json: contenders, differences between them, and the data they were measured on."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from thawline.config.sections import Config, Contender
from thawline.data.split_names import VOTED
from thawline.data.store import Store
from thawline.evaluation.compare import Compared, Results, difference_intervals, intervals
from thawline.evaluation.metrics import contributions
from thawline.evaluation.tables import Predicted, by_contender

DIFFERENCES = {
    "difference": (Contender.finetuned.name, Contender.from_scratch.name),
    "difference_linear_probe": (Contender.finetuned.name, Contender.linear_probe.name),
}
"""Keys of metrics.json that hold the first contender's metrics minus the second's."""


def measured(
    config: Config, labels: np.ndarray, models: Sequence[Predicted], clusters: np.ndarray
) -> dict[str, dict[str, Any]]:
    """Return for each contender and each difference every metric with its interval, `n_test` and `seeds`."""
    confidence, contenders = config.evaluate.confidence, by_contender(models)
    found = {
        name: Compared.of(
            [contributions(labels, each.probabilities, config.evaluate.calibration_bins) for each in seeds]
        )
        for name, seeds in contenders.items()
    }

    def entry(results: Results, *names: str) -> dict[str, Any]:
        seeds = {model.seed for name in names for model in contenders[name]}
        return {**results, "n_test": len(labels), "seeds": sorted(seeds)}

    result = {name: entry(intervals(found[name], clusters, confidence), name) for name in contenders}
    for key, (first, second) in DIFFERENCES.items():
        if first in found and second in found:
            between = difference_intervals(found[first], found[second], clusters, confidence)
            result[key] = entry(between, first, second)
    return result


def describe(target: Store, test: Store) -> dict[str, Any]:
    """Return class names, pictures per split in all and per class, and the stores' fingerprints."""
    manifest = pd.concat([target.manifest, test.manifest]).replace({"split": {VOTED: "train"}})
    sizes = {}
    for split in ("train", "val", "test"):
        counts = manifest.loc[manifest["split"] == split, "label"].value_counts()
        per_class = {name: int(counts.get(name, 0)) for name in test.classes}
        sizes[split] = {"total": sum(per_class.values()), "per_class": per_class}
    return {
        "classes": list(test.classes),
        "sizes": sizes,
        "fingerprints": {"target": target.fingerprint, "test": test.fingerprint},
    }
