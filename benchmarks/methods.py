"""Every method on one target with an equal budget: the tables of docs/methods.md.

    dvc exp run replace_head [-S NAME=VALUE …]
    python benchmarks/methods.py digits

Works on what `replace_head` left in artifacts/ and on the values of params.yaml, and lays each preset of
conf/finetune over them. Equal budget: every method gets the same epochs in all (a soup's trainings share
them), the same number of tries at its learning rates, judged on the validation pictures, and the same
number of seeds, which alone are measured on the test split. Two processes with one thread each work on a
list of trainings; what is finished is kept below scratch/, so that an interrupted run goes on.
"""

import logging
import os
import time
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from checkout import Trainings, command, folder_for, run
from kept import kept
from omegaconf import OmegaConf
from pages import fill, filled, interval, table

from thawline.artifacts import Artifacts, write_json
from thawline.config.composition import load_lock, to_config
from thawline.config.errors import UserError, first_line
from thawline.config.recipe.fields import AUTO
from thawline.config.sections import Config, Finetune
from thawline.data.store import groups_of, open_store
from thawline.evaluation.compare import Compared, difference_intervals, intervals
from thawline.evaluation.metrics import contributions
from thawline.training.head_cuts import chosen_cuts

METHODS = (
    *("from_scratch", "linear_probe", "frozen", "full", "layer_decay", "lp_ft", "gradual", "surgical"),
    *("bias", "norm", "scale_shift", "lora", "adapter", "prompt", "l2_sp", "ema", "wise_ft", "soup"),
)
"""Presets of conf/finetune, in the order of the table."""

SEARCH_SEED = 999
log = logging.getLogger("methods")


@dataclass(frozen=True)
class Job:
    """One training: a method, the factor on its preset's learning rates, and a seed."""

    method: str
    factor: float
    seed: int


def recipe_of(config: Config, root: Path, method: str, factor: float) -> Finetune:
    """The preset `method` over the configured recipe, its rates times `factor`, its epochs shared among
    a soup's trainings."""
    preset = OmegaConf.load(root / "conf" / "finetune" / f"{method}.yaml")
    merged = OmegaConf.merge(OmegaConf.structured(Finetune()), OmegaConf.structured(config.finetune), preset)
    recipe = OmegaConf.to_object(merged)
    assert isinstance(recipe, Finetune)
    assert recipe.head_lr is not None  # Finetune resolves it
    return replace(
        recipe,
        epochs=max(1, recipe.epochs // recipe.soup),
        head_lr=recipe.head_lr * factor,
        body_lr=recipe.body_lr and recipe.body_lr * factor,
    )


def train(root: Path, folder: Path, job: Job) -> dict[str, Any]:
    """What one training found, or what an earlier call left of it: validation and test results, costs.

    A method this network cannot learn by is a result too: `refused` holds the reason.
    """

    def measured() -> dict[str, Any]:
        config = to_config(load_lock(root))
        try:
            return _trained(config, root, recipe_of(config, root, job.method, job.factor), job)
        except UserError as error:
            return {"refused": first_line(error)}

    return dict(kept(folder / f"{job.method}-{job.factor:g}-{job.seed}.json", measured))


def _trained(config: Config, root: Path, recipe: Finetune, job: Job) -> dict[str, Any]:
    trainings = Trainings(root, config)
    started = time.monotonic()
    if recipe.head_cuts == AUTO:
        choice = chosen_cuts(trainings.source, recipe, trainings.store, trainings.trainer)
        recipe = replace(recipe, head_cuts=list(choice.cuts))
    network, fitted = trainings.trained(recipe, job.seed)
    found = {
        "val_accuracy": fitted.row["val_accuracy"],
        "val_loss": fitted.row["val_loss"],
        "trainable_parameters": fitted.cost["trainable_parameters"],
        "step_flops": fitted.cost.get("step_flops", float("nan")),
        "seconds": time.monotonic() - started,
    }
    if job.seed == _search_seed(config):
        return found
    return {**found, "probabilities": np.round(trainings.answers(network), 6).tolist()}


def _search_seed(config: Config) -> int:
    # as the search does: the rates are not chosen on the seeds that are reported
    return config.seed * 1000 + SEARCH_SEED


def compare(root: Path, methods: Iterable[str], factors: Iterable[float], seeds: int) -> list[dict[str, Any]]:
    """One row per method. The factor on its rates is the one with the best validation accuracy (ties: the
    lower loss); then `seeds` trainings are measured on the test split."""
    config = to_config(load_lock(root))
    folder = folder_for("methods", root)
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        tries = {
            (method, factor): pool.submit(train, root, folder, Job(method, factor, _search_seed(config)))
            for method in methods
            for factor in factors
        }
        chosen = {method: _best(method, tries) for method in methods}
        runs = {
            method: [
                pool.submit(train, root, folder, Job(method, factor, config.seed * 1000 + index))
                for index in range(seeds)
            ]
            for method, factor in chosen.items()
            if factor is not None
        }
        rows = []
        for method, factor in chosen.items():
            if factor is None:
                reason = next(each.result()["refused"] for (name, _), each in tries.items() if name == method)
                rows.append({"method": method, "refused": reason})
            else:
                rows.append({"method": method, "factor": factor, "runs": [r.result() for r in runs[method]]})
            log.info("%s: done", method)
    return _measured(root, config, rows)


def _best(method: str, tries: dict[tuple[str, float], Any]) -> float | None:
    found = {factor: each.result() for (name, factor), each in tries.items() if name == method}
    done = {factor: each for factor, each in found.items() if "refused" not in each}
    return min(done, key=lambda f: (-done[f]["val_accuracy"], done[f]["val_loss"]), default=None)


def _measured(root: Path, config: Config, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows with accuracies and intervals over pictures and seeds in place of predictions."""
    test = open_store(Artifacts.under(root).data("test"))
    settings = config.evaluate
    clusters = groups_of(test.manifest)
    found = {}
    for row in (each for each in rows if "runs" in each):
        said = [np.array(run["probabilities"]) for run in row["runs"]]
        told = [contributions(test.labels, each, settings.calibration_bins) for each in said]
        found[row["method"]] = Compared.of(told)
    measured = []
    for row in rows:
        runs = row.pop("runs", None)
        if runs is not None:
            name = row["method"]
            row["accuracy"] = intervals(found[name], clusters, settings.confidence)["accuracy"]
            if "full" in found:
                gap = difference_intervals(found[name], found["full"], clusters, settings.confidence)
                row["minus_full"] = gap["accuracy"]
            for key in ("trainable_parameters", "step_flops", "val_accuracy"):
                row[key] = float(np.mean([run[key] for run in runs]))
            # the least disturbed one: whatever else the machine does can only add to it
            row["seconds"] = min(run["seconds"] for run in runs)
        measured.append(row)
    return measured


def page(rows: list[dict[str, Any]]) -> str:
    """Return the rows as a table in Markdown."""
    names = ("method", "test accuracy (95 % interval)", "minus full", "trainable parameters")
    names += ("FLOPs of a training step per picture", "seconds", "rates times")
    lines = []
    for row in rows:
        if "refused" in row:
            lines.append([row["method"], row["refused"]])
            continue
        gap = (
            interval(**row["minus_full"], form="+.3f")
            if row["method"] != "full" and "minus_full" in row
            else ""
        )
        costs = [f"{row['trainable_parameters']:,.0f}", f"{row['step_flops'] / 1e6:,.1f} M"]
        costs += [f"{row['seconds']:.1f}", f"{row['factor']:g}"]
        lines.append([row["method"], interval(**row["accuracy"]), gap, *costs])
    return table(names, lines, "|---")


def main() -> None:
    parser = command(__doc__)
    parser.add_argument("--methods", nargs="+", default=METHODS, choices=METHODS, metavar="METHOD")
    parser.add_argument("--factors", nargs="+", type=float, default=[0.3, 1.0, 3.0], help="on the rates")
    parser.add_argument("--seeds", type=int, default=3)
    chosen = parser.parse_args()
    # two trainings at once: more threads than cores would make both slow
    os.environ["OMP_NUM_THREADS"] = "1"
    root = chosen.root.resolve()
    # a wrong name is refused now, not after an hour
    filled((root / "docs" / "methods.md").read_text(), {chosen.name: ""}, "docs/methods.md")
    rows = compare(root, chosen.methods, chosen.factors, chosen.seeds)
    write_json(root / "benchmarks" / "results" / f"methods_{chosen.name}.json", rows)
    fill("methods.md", {chosen.name: page(rows)}, root)


if __name__ == "__main__":
    run(main)
