"""Does the recommended depth hold on pictures nothing has seen? The table "depth_curve" of docs/search.md.

    dvc exp run replace_head [-S NAME=VALUE …]
    python benchmarks/depth_curve.py digits

Whole studies with `search=depth_curve` and different seeds, on what `replace_head` left in artifacts/ and on
the values of params.yaml. The models of every depth are asked about the test pictures afterwards, which no
study can open. What is finished is kept below scratch/, so that an interrupted run goes on.
"""

import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from checkout import command, folder_for, run
from pages import table

from thawline.artifacts import DEPTH_CURVE, MODEL, RECOMMENDATION, Artifacts, read_json, write_json
from thawline.config.composition import compose, load_lock, to_config
from thawline.config.sections import Config, Contender
from thawline.data.store import open_store
from thawline.evaluation.asking import Asking
from thawline.evaluation.depth_curve import points_on_test, write_tested
from thawline.models.device import prepare_device
from thawline.search.search import search

log = logging.getLogger("depth_curve")


def configured(root: Path, seed: int, overrides: list[str], study: str) -> Config:
    """The values of params.yaml with `search=depth_curve`, a seed and a study of its own."""
    config = to_config(load_lock(root))
    search = to_config(compose(root, ["search=depth_curve", *overrides])).search
    search = replace(search, study=study)
    return replace(config, contenders=[Contender.finetuned], search=search, seed=seed)


def study(root: Path, seed: int, overrides: list[str]) -> dict[str, Any]:
    """One whole study and what its depths' models say of the test pictures."""
    folder = folder_for("depth_curve", root, overrides) / str(seed)
    artifacts = Artifacts(root, folder, folder / "reports")
    # not the user's own study, which may be finished already
    config = configured(root, seed, overrides, f"benchmark-{folder.parent.name}-{seed}")
    with timed(folder / "seconds.json") as finished:
        if not finished:
            search(config, artifacts)
    test = open_store(artifacts.data("test"))
    base, device = artifacts.stage("replace_head") / MODEL, prepare_device(config.trainer)
    points = points_on_test(artifacts, Asking(test, base, config.evaluate.batch_size, device))
    write_tested(config, artifacts, test, points)
    recommendation = read_json(artifacts.reports / RECOMMENDATION)
    correct = np.array([point.correct.mean(axis=0) for point in points])
    (place,) = [index for index, point in enumerate(points) if point.depth == recommendation["depth"]]
    return {
        "seed": seed,
        "seconds": read_json(folder / "seconds.json")["seconds"],
        "recommendation": recommendation,
        "below_best_unselected": below_best(correct, place),
        "curve": pd.read_csv(artifacts.reports / DEPTH_CURVE).to_dict("records"),
    }


@contextmanager
def timed(path: Path) -> Iterator[bool]:
    """Add the block's time to what `path` says of earlier calls; gives whether an earlier one finished."""
    before = read_json(path) if path.exists() else {"seconds": 0.0, "finished": False}
    started, after = time.monotonic(), before
    try:
        yield before["finished"]
        after = {**before, "finished": True}
    finally:
        if not before["finished"]:
            write_json(path, {**after, "seconds": before["seconds"] + time.monotonic() - started})


def below_best(correct: np.ndarray, place: int, divisions: int = 500) -> float:
    """How far row `place` of `correct` (depths, pictures) is below the best one, in 0..1.

    The largest of several noisy means is too high for being the largest. So one half of the pictures says
    which depth is best, the other how much better it is, and the other way round; the mean over random
    divisions into halves.
    """
    random, found = np.random.default_rng(0), []
    for _ in range(divisions):
        order = random.permutation(correct.shape[1])
        halves = np.array_split(order, 2)
        for chooses, measures in (halves, halves[::-1]):
            best = int(correct[:, chooses].mean(axis=1).argmax())
            found.append(float((correct[best, measures] - correct[place, measures]).mean()))
    return float(np.mean(found))


def row(found: dict[str, Any]) -> dict[str, Any]:
    """How far the recommended depth is, on the test pictures, from the depth that is best there."""
    curve = pd.DataFrame(found["curve"]).set_index("depth")["test_mean"]
    depth = found["recommendation"]["depth"]
    return {
        "seed": found["seed"],
        "minutes": found["seconds"] / 60,
        "depth": depth,
        "alike": found["recommendation"]["indistinguishable_depths"],
        "test": float(curve[depth]),
        "best_depth": int(curve.idxmax()),
        "best_test": float(curve.max()),
        "below_best": float(curve.max() - curve[depth]),
        "below_best_unselected": found["below_best_unselected"],
    }


def page(studies: list[dict[str, Any]]) -> str:
    names = ("seed of the study", "minutes", "recommended depth", "indistinguishable depths")
    names += ("its test accuracy", "best depth on the test pictures", "its test accuracy")
    names += ("points below the best", "the same, best depth chosen on other pictures")
    lines = [
        [str(each["seed"]), f"{each['minutes']:.1f}", str(each["depth"]), ", ".join(map(str, each["alike"]))]
        + [f"{each['test']:.3f}", str(each["best_depth"]), f"{each['best_test']:.3f}"]
        + [f"{100 * each[name]:.1f}" for name in ("below_best", "below_best_unselected")]
        for each in map(row, studies)
    ]
    return table(names, lines, "|---")


def main() -> None:
    parser = command(__doc__)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], help="of whole studies")
    parser.add_argument("overrides", nargs="*", help="further values of the search, e.g. search.workers=4")
    chosen = parser.parse_args()
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    root = chosen.root.resolve()
    found = [study(root, seed, chosen.overrides) for seed in chosen.seeds]
    write_json(root / "benchmarks" / "results" / f"depth_curve_{chosen.name}.json", found)
    log.info("%s", page(found))


if __name__ == "__main__":
    run(main)
