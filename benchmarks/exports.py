"""All torchvision classifiers and ten of timm as ONNX and torch.export: the table of docs/exports.md.

    OMP_NUM_THREADS=1 nice python benchmarks/exports.py --minutes 20   # those without a row, smallest first
    OMP_NUM_THREADS=1 nice python benchmarks/exports.py resnet18       # this one, anew

Random weights, small pictures, one model at a time in a process of its own, whose files are deleted. A row is
kept as soon as it is there, so a run that was ended goes on where it was. `--table` writes the page again.
"""

import argparse
import json
import logging
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from builders import SIDES, weights
from command import arguments
from kept import put, rows_in
from pages import RESULTS, fill, table

from thawline.artifacts import CARD, MODEL, read_json
from thawline.config.sections import ExportFormat
from thawline.data.store import open_store, write_store
from thawline.data.transform import Transform
from thawline.models.card import ModelCard
from thawline.models.checkpoint import build_random, save_model
from thawline.models.zoo import architectures
from thawline.serving.formats.write import OUTCOMES, write_formats

ROWS = RESULTS / "exports.json"
FORMATS = (ExportFormat.onnx, ExportFormat.torch_export)
SECONDS = 300
"""After so long a model is given up."""

TIMM: dict[str, int] = {
    "timm:mobilenetv3_small_100": 32,
    "timm:tf_efficientnet_lite0": 32,
    "timm:ghostnet_100": 32,
    "timm:resnet18": 32,
    "timm:regnety_002": 32,
    "timm:convnext_atto": 32,
    "timm:mobilevit_xxs": 64,
    "timm:deit_tiny_patch16_224": 224,
    "timm:vit_tiny_patch16_224": 224,
    "timm:swin_tiny_patch4_window7_224": 224,
}
"""Models of timm, and the side of the pictures that each is given."""


def exported(name: str) -> dict[str, str]:
    """Return what became of each format, in the words of formats.json."""
    side = TIMM.get(name, SIDES.get(name, 32))
    options = {"image_size": side} if name.startswith("vit") else {}
    transform = Transform(side, side, 3, "crop", "bilinear", (0.5,) * 3, (0.25,) * 3)
    images = np.random.default_rng(0).integers(0, 256, (14, side, side, 3), dtype=np.uint8)
    rows = [
        {"path": f"{index}.png", "label": "ab"[index % 2], "split": "train", "group": "", "content_hash": ""}
        for index in range(len(images))
    ]
    card = ModelCard(name, options, ("a", "b"), transform, "random")
    with tempfile.TemporaryDirectory() as folder:
        store, bundle = Path(folder, "store"), Path(folder, "bundle")
        write_store(
            store, images, pd.DataFrame(rows).assign(width=side, height=side), card.classes, transform
        )
        save_model(bundle / MODEL, bundle / CARD, build_random(card).eval(), card)
        write_formats(FORMATS, bundle, open_store(store))
        outcomes: dict[str, str] = read_json(bundle / OUTCOMES)
    return outcomes


def row_of(name: str) -> dict[str, Any]:
    """Export `name` in a process of its own, and return what came of it."""
    started = time.monotonic()
    command = [sys.executable, __file__, "--one", name]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        return {"model": name, "error": f"given up after {SECONDS} s"}
    if done.returncode:
        words = (done.stderr.strip().splitlines() or [""])[-1]
        return {"model": name, "error": words or f"ended with {done.returncode}"}
    log.info("%s: %.0f s", name, time.monotonic() - started)
    return {"model": name, "outcomes": json.loads(done.stdout.splitlines()[-1])}


def page(rows: list[dict[str, Any]]) -> str:
    """Return the table of the models that were run, and the names of the others."""
    found = {row["model"]: row for row in rows}
    names = sorted([*architectures(), *TIMM])
    lines = []
    for name in (each for each in names if each in found):
        row = found[name]
        outcomes, error = row.get("outcomes", {}), row.get("error", "")
        lines.append([name, *(shortened(outcomes.get(each.name, error)) for each in FORMATS)])
    left = [name for name in names if name not in found]
    rest = f"\n\nNot run yet ({len(left)}): {', '.join(left)}" if left else ""
    return table(("model", "ONNX", "torch.export"), lines, "|---") + rest


def shortened(words: str) -> str:
    """Return the difference alone where a format was written, and what stands in a cell else."""
    same = "its probabilities differ from the bundle's by at most "
    return words.removeprefix(same).replace("|", "/")


log = logging.getLogger("exports")


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("models", nargs="*", choices=[*architectures(), *TIMM, []], help="only these, anew")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no model after so long")
    parser.add_argument("--table", action="store_true", help="only write the page again")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    logging.getLogger("thawline").setLevel(logging.WARNING)
    if chosen.one:
        print(json.dumps(exported(chosen.one)))  # noqa: T201
        return
    done = {row["model"] for row in rows_in(ROWS)}
    left = [*TIMM, *sorted(architectures(), key=weights)]
    end = time.monotonic() + 60 * chosen.minutes
    for name in [] if chosen.table else chosen.models or [name for name in left if name not in done]:
        if time.monotonic() > end:
            break
        put(ROWS, [row_of(name)], "model")
    fill("exports.md", {"exports": page(rows_in(ROWS))})


if __name__ == "__main__":
    main()
