"""Every classification builder of torchvision through the whole pipeline: the table of docs/architectures.md.

    OMP_NUM_THREADS=1 nice python benchmarks/builders.py    # those without a row, smallest first
    OMP_NUM_THREADS=1 nice python benchmarks/builders.py vgg11 vit_h_14  # these, anew

One builder at a time, on a few toy pictures, by the functions that the stages call; what these write is
deleted. A row is kept as soon as it is there, so a run that was ended goes on where it was. `--table` writes
the page again from the rows.
"""

import logging
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from command import arguments
from kept import put, rows_in
from pages import RESULTS, ROOT, fill, table
from PIL import Image
from torchvision.models import get_model_weights

from thawline.artifacts import CARD, COSTS, MODEL, Artifacts, read_json
from thawline.config.composition import compose, to_config
from thawline.config.sections import Config
from thawline.data.prepare import prepare
from thawline.models.checkpoint import load_model
from thawline.models.cuts import units
from thawline.models.preprocessing import transform_for
from thawline.models.replace_head import replace_head
from thawline.models.zoo import architectures
from thawline.report.machine import describe_machine
from thawline.search.search import search
from thawline.serving.export import export
from thawline.serving.predict import card_of, network_of, picture_files, predict
from thawline.training.finetune import finetune
from thawline.training.memory import free_memory
from thawline.training.pretrain import pretrain

ROWS = RESULTS / "builders.json"
STEPS = ("pretrain", "replace_head", "finetune", "soup", "export", "predict")
NAMES = ("builder", "pixels", "million weights", "went through")

SIDES = {"alexnet": 63, "inception_v3": 75, "vit_h_14": 28, "vit_b_32": 64, "vit_l_32": 64, "maxvit_t": 224}
"""The smallest pictures that a builder takes, where it is not 32 pixels."""

COPIES = 7
"""How many times the weights are in memory at the most, in a soup of two: 6.3 times those of vit_b_16."""

SETTINGS = (
    *("source=image_folder", "target=image_folder", "search=off", "contenders=[finetuned]"),
    *("pretrain.epochs=1", "pretrain.batch_size=4", "trainer.accelerator=cpu", "trainer.threads=1"),
    *("finetune.epochs=1", "finetune.batch_size=4", "finetune.seeds=1", "finetune.keep=best"),
)
log = logging.getLogger("builders")


def through(builder: str, folder: Path) -> Iterator[tuple[str, Callable[[], None]]]:
    """Yield the steps of the pipeline for `builder` with what each does, in order; all is written below
    `folder`. A step raises where it fails, or where what it left is not what it should be."""
    toy_pictures(folder / "pictures")
    artifacts, whole = Artifacts.under(folder), configured(builder, folder / "pictures")
    for role in ("source", "target"):
        prepare(configured(builder, folder / "pictures", f"role={role}"), transform_for, artifacts)
    yield "pretrain", lambda: pretrain(whole, artifacts)
    yield "replace_head", lambda: replace_head(whole, artifacts)
    yield "finetune", lambda: tuned(whole, artifacts)
    yield "soup", lambda: tuned(halfway(builder, folder, artifacts), artifacts)
    yield "export", lambda: export(whole, artifacts)
    yield "predict", lambda: predicted(folder / "pictures", artifacts)


def configured(builder: str, pictures: Path, *more: str) -> Config:
    side = SIDES.get(builder, 32)
    told = [f"+model.options.image_size={side}"] if builder.startswith("vit") else []
    named = [f"model.architecture={builder}", f"input.size={side}", *told]
    roots = [f"source.root={pictures}", f"target.root={pictures}"]
    # one for all: MLflow takes seconds to make it
    roots.append(f"tracking.uri=sqlite:///{pictures.parents[1]}/mlflow.db")
    return to_config(compose(ROOT, [*SETTINGS, *named, *roots, *more]))


def halfway(builder: str, folder: Path, artifacts: Artifacts) -> Config:
    """Configure two trainings behind half of the units, averaged: both sides of a cut, stored features."""
    initial = artifacts.stage("replace_head")
    half = len(units(load_model(initial / MODEL, initial / CARD)[0])) // 2
    return configured(builder, folder / "pictures", f"finetune.depth={half}", "finetune.soup=2")


def tuned(config: Config, artifacts: Artifacts) -> None:
    """Pass the recipe through the search and fine-tune by it."""
    search(config, artifacts)
    finetune(config, artifacts)
    (cost,) = read_json(artifacts.stage("finetune", "finetuned") / COSTS)["seeds"].values()
    if config.finetune.soup > 1 and not cost["soup"]:
        raise AssertionError("no training is in the soup")


def predicted(pictures: Path, artifacts: Artifacts) -> None:
    """Label every picture with the bundle."""
    bundle = artifacts.stage("export")
    card = card_of(bundle)
    for found in predict(lambda: network_of(bundle), card, picture_files([pictures])):
        total = sum(found.probabilities.values())
        if found.label not in card.classes or abs(total - 1) > 1e-6:
            raise AssertionError(f"{found.path.name}: {found.label}, probabilities of {total} in all")


def toy_pictures(folder: Path, each: int = 8) -> None:
    """Write noise with a bright stripe whose direction is the class."""
    random = np.random.default_rng(0)
    for index in range(2 * each):
        image, name = random.integers(0, 90, (32, 32, 3), dtype=np.uint8), ("across", "down")[index % 2]
        place = random.integers(2, 26)
        (image if name == "across" else image.swapaxes(0, 1))[place : place + 4] = 230
        (folder / name).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / name / f"{index}.png")


def row_of(builder: str, place: Path) -> dict[str, Any]:
    """Return what became of `builder`: the steps it went through, and what ended it. What is written
    lies below `place`, and is deleted but for MLflow's database."""
    size = weights(builder)
    row: dict[str, Any] = {"builder": builder, "side": SIDES.get(builder, 32), "weights": size, "steps": []}
    need = 4 * COPIES * size
    if need > psutil.virtual_memory().available:
        return row | {"error": f"not tried: it needs {need / 2**30:.0f} GiB of free memory"}
    with tempfile.TemporaryDirectory(dir=place) as folder:
        for name, step in through(builder, Path(folder)):
            try:
                step()
            except Exception as error:  # whatever a network raises is what the table is to say
                log.exception("%s: %s", builder, name)
                return row | {
                    "error": f"{name}: {type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
                }
            row["steps"].append(name)
            # a stage is a process of its own, which begins with nothing
            free_memory()
    return row


def weights(builder: str) -> int:
    """Return how many weights `builder` has with the thousand classes it was published with."""
    return int(get_model_weights(builder).DEFAULT.meta["num_params"])


def page(rows: list[dict[str, Any]]) -> str:
    """Return the rows in Markdown, by name, and a line with the builders that have none."""
    found = table(NAMES, map(cells, sorted(rows, key=lambda row: row["builder"])), "|---")
    missing = sorted(set(architectures()) - {row["builder"] for row in rows})
    return found + (f"\n\nNot run yet ({len(missing)}): {', '.join(missing)}" if missing else "")


def cells(row: dict[str, Any]) -> list[str]:
    through = row.get("error") or "all six steps"
    return [row["builder"], str(row["side"]), f"{row['weights'] / 1e6:.1f}", through]


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("builders", nargs="*", choices=[*architectures(), []], help="only these, anew")
    parser.add_argument("--table", action="store_true", help="only write the page again")
    chosen = parser.parse_args()
    logging.getLogger("thawline").setLevel(logging.WARNING)
    # its database is in another folder for every builder, which it says
    logging.getLogger("thawline.tracking").setLevel(logging.ERROR)
    os.environ.pop("DVC_ROOT", None)
    torch.set_num_threads(1)
    done = {row["builder"] for row in rows_in(ROWS)}
    todo = chosen.builders or sorted(set(architectures()) - done, key=weights)
    with tempfile.TemporaryDirectory() as place:
        for builder in [] if chosen.table else todo:
            row = row_of(builder, Path(place))
            log.info("%s", " ".join(cells(row)))
            put(ROWS, [row], "builder")
            free_memory()
    found = describe_machine()["versions"]
    libraries = ", ".join(f"{name} {found[name]}" for name in ("torch", "torchvision"))
    fill("architectures.md", {"builders": f"{libraries}\n\n{page(rows_in(ROWS))}"})


if __name__ == "__main__":
    main()
