"""How fast a search finds a good recipe: the table "quick" of docs/search.md.

    dvc exp run replace_head [-S NAME=VALUE …]
    python benchmarks/search.py hotdog

Three searches over the same space with the same trainings, on what `replace_head` left in artifacts/ and
on the values of params.yaml: a grid of 60 recipes, run to the end; `search=quick` for some trials; Optuna's
TPE as its tutorial writes it (default sampler, nothing enqueued, no pruning) for as many. The recipe
that each chooses is then fine-tuned with fresh seeds, which alone are measured on the test split. Two
processes with one thread each; what is finished is kept below scratch/, so that an interrupted run goes on.
"""

import logging
import os
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, replace
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
from checkout import Trainings, command, folder_for, run
from kept import kept
from omegaconf import OmegaConf
from pages import table

from thawline.artifacts import RECIPE, TRIALS, Artifacts, fingerprint, write_json
from thawline.config.composition import compose, load_lock, to_config
from thawline.config.errors import UserError
from thawline.config.recipe.contenders import recipe_of
from thawline.config.sections import Config, Contender, Finetune, Trainer, ValidationName
from thawline.models.cuts import units
from thawline.search.search import search
from thawline.training.recipe import plain, read_chosen

SEARCH_SEED = 999
CLOSE = 0.01
"""Within one point of the grid's best."""
log = logging.getLogger("search")

Found = dict[str, Any]
"""`recipe`, `val_accuracy`, `trials` and `curve`: (seconds, best validation accuracy so far)."""


def configured(root: Path, trials: int, seed: int, study: str | None = None) -> Config:
    """The values of params.yaml with what `search=quick` searches, its trials and a seed of its own."""
    config = to_config(load_lock(root))
    quick = to_config(compose(root, ["search=quick"])).search
    config.contenders = [Contender.finetuned]
    config.search = replace(
        quick,
        trials=trials,
        space=config.search.space,
        workers=1,
        # the others' too
        validation=ValidationName.holdout,
        # not the user's own search, nor one of another length
        study=study,
    )
    config.seed = seed
    config.trainer = Trainer(accelerator="cpu", threads=1)
    config.tracking.uri = f"sqlite:///{root / 'scratch' / 'search' / f'mlflow-{seed}.db'}"
    return config


def quick(root: Path, folder: Path, trials: int, seed: int) -> Found:
    """Our search."""
    config = configured(root, trials, seed, f"benchmark-{folder.name}-{seed}")
    artifacts = Artifacts(root, folder / f"quick-{seed}", folder / f"quick-{seed}" / "reports")
    search(config, artifacts)
    stage = artifacts.stage_output("search", "finetuned")
    chosen, trials = read_chosen(stage / RECIPE), pd.read_csv(stage / TRIALS)
    # one worker, so that times add up; longer pauses are interruptions, which the study does not count either
    pauses = (trials["started"] - trials["finished"].shift(fill_value=0)).where(lambda gap: gap < 60, 0)
    trials["used"] = (trials["finished"] - trials["started"] + pauses).cumsum()
    done = trials[trials["state"] == "complete"]
    curve = list(zip(done["used"], done["value"].cummax(), strict=True))
    assert chosen.selected is not None
    return {
        "recipe": plain(chosen.recipe),
        "val_accuracy": chosen.selected["val_accuracy"],
        "trials": len(trials),
        "curve": curve,
    }


def plain_tpe(root: Path, folder: Path, trials: int, seed: int) -> Found:  # noqa: ARG001
    """What Optuna's tutorial does."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    tries = Tries(root, seed)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
    started, curve = time.monotonic(), []
    for _ in range(trials):
        trial = study.ask()
        study.tell(trial, tries.accuracy(tries.suggested(trial)))
        curve.append((time.monotonic() - started, study.best_value))
    recipe = tries.suggested(optuna.trial.FixedTrial(study.best_params))
    return {
        "recipe": plain_values(recipe),
        "val_accuracy": study.best_value,
        "trials": len(curve),
        "curve": curve,
    }


def grid_point(root: Path, folder: Path, recipe: Finetune) -> dict[str, float]:
    """One recipe of the grid."""

    def measured() -> dict[str, float]:
        started = time.monotonic()
        accuracy = Tries(root, 0).accuracy(recipe)
        return {"accuracy": accuracy, "seconds": time.monotonic() - started}

    return dict(kept(folder / f"grid-{fingerprint(plain_values(recipe))[:12]}.json", measured))


def grid_recipes(root: Path, count: int) -> list[Finetune]:
    """Three depths × `count` rates of the body × as many of the head, and 3 · `count` linear probes."""
    tries = Tries(root, 0)
    space, units = tries.config.search.space, tries.units
    depths = [0, units // 3, 2 * units // 3]

    def rates(name: str, count: int) -> list[float]:
        ends = getattr(space, name)
        return [float(rate) for rate in np.geomspace(ends.low, ends.high, count)]

    unfrozen = product(depths, rates("head_lr", count), rates("body_lr", count))
    recipes = [replace(tries.base, depth=depth, head_lr=head, body_lr=body) for depth, head, body in unfrozen]
    return recipes + [replace(tries.base, depth="all", head_lr=head) for head in rates("head_lr", 3 * count)]


class Tries:
    """One training at a time, as each trial of our search trains it."""

    def __init__(self, root: Path, seed: int) -> None:
        self.config = configured(root, 1, seed)
        self.trainings = Trainings(root, self.config)
        self.base = recipe_of(Contender.finetuned, self.config.finetune)
        self.units = len(units(self.trainings.source))

    def suggested(self, trial: Any) -> Finetune:
        """The same space as ours, every parameter in every trial."""
        space = self.config.search.space
        depth = trial.suggest_int("depth", 0, self.units)
        head = trial.suggest_float("head_lr", space.head_lr.low, space.head_lr.high, log=True)
        body = trial.suggest_float("body_lr", space.body_lr.low, space.body_lr.high, log=True)
        return replace(self.base, depth="all" if depth == self.units else depth, head_lr=head, body_lr=body)

    def accuracy(self, recipe: Finetune) -> float:
        """Of one trial; 0 where its loss diverged."""
        try:
            fitted = self.trainings.trained(recipe, self.config.seed * 1000 + SEARCH_SEED)[1]
        except UserError:
            return 0.0
        return float(fitted.row["val_accuracy"])


def tested(root: Path, recipe: dict[str, Any], seed: int) -> float:
    """Test accuracy of one training."""
    made = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(Finetune), recipe))
    assert isinstance(made, Finetune)
    trainings = Trainings(root, configured(root, 1, 0))
    found = trainings.answers(trainings.trained(made, seed)[0])
    return float((found.argmax(1) == trainings.test.labels).mean())


def plain_values(recipe: Finetune) -> dict[str, Any]:
    return dict(plain(asdict(recipe)))


def compare(root: Path, trials: int, repeats: int, seeds: int, rates: int) -> Found:
    """All searches and the fresh seeds of what each chose."""
    folder = folder_for("search", root, trials)
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        # of each repetition the two side by side, so that whatever else the machine does hits both
        runs = {
            (name, seed): pool.submit(kept, folder / f"{name}-{seed}.json", what, root, folder, trials, seed)
            for seed in range(repeats)
            for name, what in (("quick", quick), ("TPE", plain_tpe))
        }
        recipes = grid_recipes(root, rates)
        points = [pool.submit(grid_point, root, folder, recipe) for recipe in recipes]
        found = {f"{name} {seed}": run.result() for (name, seed), run in runs.items()}
        values = [point.result() for point in points]
        best = int(np.argmax([value["accuracy"] for value in values]))
        found["grid"] = {
            "recipe": plain_values(recipes[best]),
            "val_accuracy": values[best]["accuracy"],
            "trials": len(values),
            "curve": [[sum(value["seconds"] for value in values), values[best]["accuracy"]]],
        }
        tests = {
            name: [pool.submit(tested, root, each["recipe"], seed) for seed in range(seeds)]
            for name, each in found.items()
        }
        for name, each in tests.items():
            found[name]["test_accuracy"] = [run.result() for run in each]
    return found


def rows(found: Found) -> list[dict[str, Any]]:
    """A row per search: what its winner reaches, its regret, and when it first came close to the grid."""
    aim = found["grid"]["val_accuracy"] - CLOSE
    reference = float(np.mean(found["grid"]["test_accuracy"]))
    result = []
    for name, each in found.items():
        test = float(np.mean(each["test_accuracy"]))
        close = next((seconds for seconds, value in each["curve"] if value >= aim), None)
        result.append(
            {
                "search": name,
                "trials": each["trials"],
                "seconds": each["curve"][-1][0],
                "val_accuracy": each["val_accuracy"],
                "test_accuracy": test,
                "regret": reference - test,
                "seconds_to_close": close,
            }
        )
    return result


def page(measured: list[dict[str, Any]]) -> str:
    names = ("search", "trials", "seconds", "validation accuracy of the winner", "test accuracy, fresh seeds")
    names += ("regret against the grid", "seconds to within a point of the grid's best (validation)")
    lines = []
    for row in measured:
        close = row["seconds_to_close"]
        shown = "" if row["search"] == "grid" else "never" if close is None else f"{close:.0f}"
        first = (row["search"], str(row["trials"]), f"{row['seconds']:.0f}", f"{row['val_accuracy']:.3f}")
        lines.append([*first, f"{row['test_accuracy']:.3f}", f"{row['regret']:+.3f}", shown])
    return table(names, lines, "|---")


def main() -> None:
    parser = command(__doc__)
    parser.add_argument("--trials", type=int, default=30, help="of each search but the grid")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=3, help="fresh ones for each winner")
    parser.add_argument("--rates", type=int, default=4, help="of each kind in the grid; 4: 60 recipes")
    chosen = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    root = chosen.root.resolve()
    found = rows(compare(root, chosen.trials, chosen.repeats, chosen.seeds, chosen.rates))
    write_json(root / "benchmarks" / "results" / f"search_{chosen.name}.json", found)
    log.info("%s", page(found))


if __name__ == "__main__":
    run(main)
