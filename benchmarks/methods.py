"""Every method on one target with an equal budget: the tables of docs/methods.md.

    dvc exp run replace_head [-S NAME=VALUE …]
    python benchmarks/methods.py digits

Works on what `replace_head` left in artifacts/ and on the values of params.yaml, and lays each preset of
conf/finetune over them. Equal budget: every method gets the same epochs in all (a soup's trainings share
them), the same number of tries at its learning rates, judged on the validation pictures, and the same
number of seeds, which alone are measured on the test split. Two processes with one thread each work on a
list of trainings; what is finished is kept below scratch/, so that an interrupted run goes on.
"""

import argparse
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
from omegaconf import OmegaConf

from thawline.artifacts import CARD, MODEL, Artifacts, file_hash, fingerprint, read_json, write_json
from thawline.config.composition import load_lock, to_config
from thawline.config.errors import UserError, first_line
from thawline.config.recipe.fields import AUTO
from thawline.config.sections import Config, Finetune, Trainer

ROOT = Path(__file__).resolve().parents[1]
METHODS = (
    "from_scratch",
    "linear_probe",
    "frozen",
    "full",
    "layer_decay",
    "lp_ft",
    "gradual",
    "surgical",
    "bias",
    "norm",
    "scale_shift",
    "lora",
    "adapter",
    "prompt",
    "l2_sp",
    "ema",
    "wise_ft",
    "soup",
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
    path = folder / f"{job.method}-{job.factor:g}-{job.seed}.json"
    if path.is_file():
        return dict(read_json(path))
    config = to_config(load_lock(root))
    try:
        found = _train(config, Artifacts.under(root), recipe_of(config, root, job.method, job.factor), job)
    except UserError as error:
        found = {"refused": first_line(error)}
    write_json(path, found)
    return found


def _train(config: Config, artifacts: Artifacts, recipe: Finetune, job: Job) -> dict[str, Any]:
    from thawline.data.store import open_store
    from thawline.evaluation.asking import class_order
    from thawline.models.checkpoint import load_model
    from thawline.models.device import prepare_machine
    from thawline.models.inference import probabilities
    from thawline.training.batches import batches
    from thawline.training.finetune import initial_network
    from thawline.training.head_cuts import chosen_cuts
    from thawline.training.soup import finetune_soup

    trainer = Trainer(accelerator="cpu", threads=1)
    prepare_machine(trainer)
    initial = artifacts.stage("replace_head")
    store = open_store(artifacts.data("target"))
    started = time.monotonic()
    if recipe.head_cuts == AUTO:
        source, _ = load_model(initial / MODEL, initial / CARD)
        recipe = replace(recipe, head_cuts=list(chosen_cuts(source, recipe, store, trainer).cuts))
    network, card = initial_network(recipe, initial, job.seed)
    fitted = finetune_soup(
        network,
        recipe,
        store,
        trainer,
        seed=job.seed,
        mirror=config.target.mirror,
    )
    seconds = time.monotonic() - started
    found = {
        "val_accuracy": fitted.row["val_accuracy"],
        "val_loss": fitted.row["val_loss"],
        "trainable_parameters": fitted.cost["trainable_parameters"],
        "step_flops": fitted.cost.get("step_flops", float("nan")),
        "seconds": seconds,
    }
    if job.seed == _search_seed(config):
        return found
    test = open_store(artifacts.data("test"))
    answers = probabilities(network, batches(test, config.evaluate.batch_size), "cpu")
    order = class_order(card, test, initial / MODEL)
    return {**found, "probabilities": np.round(answers[:, order], 6).tolist()}


def _search_seed(config: Config) -> int:
    # as the search does: the rates are not chosen on the seeds that are reported
    return config.seed * 1000 + SEARCH_SEED


def compare(root: Path, methods: Iterable[str], factors: Iterable[float], seeds: int) -> list[dict[str, Any]]:
    """One row per method. The factor on its rates is the one with the best validation accuracy (ties: the
    lower loss); then `seeds` trainings are measured on the test split."""
    config = to_config(load_lock(root))
    folder = _folder(root, config)
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


def _folder(root: Path, config: Config) -> Path:
    """Where trainings are kept: another one for other values, another source model or other code."""
    from thawline.identity import code_identity

    artifacts = Artifacts.under(root)
    source = file_hash(artifacts.stage("replace_head") / MODEL)
    lock = OmegaConf.to_yaml(OmegaConf.structured(config))
    return (
        root
        / "scratch"
        / "methods"
        / fingerprint([lock, source, code_identity("thawline.search.search")])[:12]
    )


def _measured(root: Path, config: Config, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows with accuracies and intervals over pictures and seeds in place of predictions."""
    from thawline.data.store import groups_of, open_store
    from thawline.evaluation.compare import Compared, difference_intervals, intervals
    from thawline.evaluation.metrics import contributions
    from thawline.statistics.bootstrap import clusters_of

    test = open_store(Artifacts.under(root).data("test"))
    settings = config.evaluate
    clusters = clusters_of(len(test), groups_of(test.manifest))
    found = {
        row["method"]: Compared.of(
            [
                contributions(test.labels, np.array(run["probabilities"]), settings.calibration_bins)
                for run in row["runs"]
            ]
        )
        for row in rows
        if "runs" in row
    }
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


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as a table in Markdown."""
    lines = [
        "| method | test accuracy (95 % interval) | minus full | trainable parameters "
        "| FLOPs of a training step per picture | seconds | rates times |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        if "refused" in row:
            lines.append(f"| {row['method']} | {row['refused']} | | | | | |")
            continue
        gap = _interval(row["minus_full"], "+") if row["method"] != "full" and "minus_full" in row else ""
        lines.append(
            f"| {row['method']} | {_interval(row['accuracy'])} | {gap} | {row['trainable_parameters']:,.0f} "
            f"| {row['step_flops'] / 1e6:,.1f} M | {row['seconds']:.1f} | {row['factor']:g} |"
        )
    return "\n".join(lines)


def _interval(value: dict[str, float], sign: str = "") -> str:
    return f"{value['mean']:{sign}.3f} ({value['low']:{sign}.3f} to {value['high']:{sign}.3f})"


def insert(document: str, name: str, text: str) -> str:
    """`document` with `text` between the comments that name the table `name`."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    if begin not in document or end not in document:
        raise UserError(f"docs/methods.md has no place for {name}.\n  Add the lines {begin} and {end} to it.")
    before, rest = document.split(begin, 1)
    return f"{before}{begin}\n{text}\n{end}{rest.split(end, 1)[1]}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", help="of the table in docs/methods.md and of the file in benchmarks/results")
    parser.add_argument(
        "--root",
        type=Path,
        default=ROOT,
        help="the checkout whose artifacts are used and whose page is written",
    )
    parser.add_argument("--methods", nargs="+", default=METHODS, choices=METHODS, metavar="METHOD")
    parser.add_argument("--factors", nargs="+", type=float, default=[0.3, 1.0, 3.0], help="on the rates")
    parser.add_argument("--seeds", type=int, default=3)
    chosen = parser.parse_args()
    # two trainings at once: more threads than cores would make both slow
    os.environ["OMP_NUM_THREADS"] = "1"
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        root = chosen.root.resolve()
        page = root / "docs" / "methods.md"
        insert(page.read_text(), chosen.name, "")  # a wrong name is refused now, not after an hour
        rows = compare(root, chosen.methods, chosen.factors, chosen.seeds)
        write_json(root / "benchmarks" / "results" / f"methods_{chosen.name}.json", rows)
        page.write_text(insert(page.read_text(), chosen.name, table(rows)))
    except UserError as error:
        raise SystemExit(f"error: {error}") from None


if __name__ == "__main__":
    main()
