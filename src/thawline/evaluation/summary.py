"""What metrics.json says: contenders, differences between them, and the data they were measured on."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from thawline.config.sections import Config, Contender
from thawline.data.store import Store
from thawline.evaluation.compare import Estimate, difference, estimates, intervals
from thawline.evaluation.metrics import contributions
from thawline.evaluation.tables import Predicted, by_contender

DIFFERENCES = {
    "difference": (Contender.finetuned.name, Contender.from_scratch.name),
    "difference_linear_probe": (Contender.finetuned.name, Contender.linear_probe.name),
}
"""Keys of metrics.json that hold the first contender's metrics minus the second's."""


def measured(
    config: Config, labels: np.ndarray, models: Sequence[Predicted], groups: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """For each contender and each difference: every metric with its interval, `n_test`, `seeds`."""
    settings, contenders = config.evaluate, by_contender(models)
    parts = {
        name: [contributions(labels, model.probabilities, settings.calibration_bins) for model in seeds]
        for name, seeds in contenders.items()
    }
    found = estimates(parts, resamples=settings.resamples, seed=config.seed, groups=groups)

    def entry(estimate: Estimate, *names: str) -> dict[str, Any]:
        seeds = {model.seed for name in names for model in contenders[name]}
        return {
            **intervals(estimate, settings.confidence),
            "n_test": len(labels),
            "seeds": sorted(seeds),
        }

    result = {name: entry(found[name], name) for name in contenders}
    for key, (first, second) in DIFFERENCES.items():
        if first in found and second in found:
            result[key] = entry(difference(found[first], found[second]), first, second)
    return result


def describe(target: Store, test: Store) -> dict[str, Any]:
    """Class names, pictures per split in all and per class, and the stores' fingerprints."""
    manifest = pd.concat([target.manifest, test.manifest])
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
