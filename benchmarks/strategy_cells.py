"""What strategies.py measures: data sets, sources, sizes, strategies, their order, and what is finished."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from methods import recipe_of as preset
from pages import RESULTS, ROOT

from thawline.artifacts import read_json, write_text
from thawline.config.composition import load_lock, to_config
from thawline.config.sections import BatchNorm, Finetune, Method, Phases, Start

SIDES = {"digits": 32, "signdigits": 64, "antsbees256": 160, "hotdog256": 160, "rsscn7": 160}
"""Side in pixels that the networks see of each data set; 224 would take twice as long."""
SIZES = (5, 10, 20, 40)
"""Training pictures of each class."""
SEEDS = 3
EPOCHS, STEPS = 5, 30
"""A fine-tuning has so many epochs, and more where these have fewer than so many steps."""
STRATEGIES: dict[str, tuple[str, float]] = {
    "mostly_frozen": ("lp_ft", 0.75),
    "half_frozen": ("lp_ft", 0.5),
    "lp_ft": ("lp_ft", 0),
    "full": ("full", 0),
    "bias": ("bias", 0),
}
"""Presets of conf/finetune at a depth, with the source's statistics of BatchNorm. All but `full` start from
the head that is the linear probe, whatever cuts it reads."""
FACTORS = {"low": 1 / 3, "high": 3.0, "moving": 1.0}
"""On the rates of a preset, in variants of the first four; with `moving`, BatchNorm goes on estimating."""
ARCHITECTURES = {"lite0": "timm:tf_efficientnet_lite0", "mobilenet_v2": "mobilenet_v2"}


class Subset(NamedTuple):
    """Pictures that are learnt from: `each` of every class of a data set, drawn by `seed`, for a source."""

    data: str
    source: str
    each: int
    seed: int


class Cell(NamedTuple):
    """One measurement; `variant` is a name of `FACTORS`, or empty."""

    subset: Subset
    strategy: str
    variant: str = ""

    @property
    def name(self) -> str:
        return "-".join([*map(str, self.subset), self.strategy, self.variant])


class Finished:
    """The cells that are measured: those in a file of the repository, and those that came since, each a file
    of its own in a folder, so that several processes can measure at once."""

    def __init__(self, folder: Path, path: Path = RESULTS / "strategies.json") -> None:
        self.path, self.folder = path, folder / "cells"
        self.stored: dict[str, Any] = read_json(path) if path.is_file() else {}

    def fresh(self, cell: Cell) -> Path:
        """Return where a cell goes that is measured now."""
        return self.folder / f"{cell.name}.json"

    def get(self, cell: Cell) -> dict[str, Any] | None:
        """Return what a cell found; None while it is not measured."""
        if cell.name in self.stored:
            return dict(self.stored[cell.name])
        return dict(read_json(self.fresh(cell))) if self.fresh(cell).is_file() else None

    def store(self) -> None:
        """Write all that is measured into the file of the repository, a cell a line."""
        found = {cell.name: self.get(cell) for cell in cells()}
        lines = [f"{json.dumps(name)}: {json.dumps(each)}" for name, each in found.items() if each]
        write_text(self.path, "{\n" + ",\n".join(lines) + "\n}\n")


def cells() -> Iterator[Cell]:
    """Yield all cells in the order in which they are measured: all strategies on one subset after the other,
    small pictures first; after the first seed variants, LoRA and training from scratch on half of the
    sizes."""

    def subsets(seed: int, sizes: tuple[int, ...] = SIZES) -> list[Subset]:
        return [
            Subset(data, source, each, seed) for data in SIDES for each in sizes for source in ARCHITECTURES
        ]

    for seed in range(SEEDS):
        for each in (10, 40, 5, 20):
            names = ("heads", *STRATEGIES)
            yield from (Cell(subset, name) for subset in subsets(seed, (each,)) for name in names)
        if seed:
            continue
        some = subsets(seed, SIZES[1::2])
        for variant in FACTORS:
            for strategy in list(STRATEGIES)[:4]:
                yield from (Cell(subset, strategy, variant) for subset in some)
        yield from (Cell(subset, "lora") for subset in some)
        yield from (Cell(subset, "from_scratch") for subset in some if subset.source == "lite0")


def recipe_of(cell: Cell, pictures: int) -> Finetune:
    """Return the recipe of a cell, which learns from so many pictures."""
    name, depth = STRATEGIES.get(cell.strategy, (cell.strategy, 0))
    found = preset(to_config(load_lock(ROOT)), ROOT, name, FACTORS.get(cell.variant, 1.0))
    epochs = max(EPOCHS, -(-STEPS // -(-pictures // found.batch_size)))
    if found.method is Method.bias:
        # most of these networks' biases are BatchNorm's shifts; few steps are not enough for a new head
        return replace(found, epochs=epochs, batch_norm=BatchNorm.affine, phases=Phases.probe_first)
    still = found.start is Start.source and cell.variant != "moving"
    return replace(
        found,
        depth=depth,
        epochs=epochs,
        batch_norm=BatchNorm.frozen if still else BatchNorm.train,
    )
