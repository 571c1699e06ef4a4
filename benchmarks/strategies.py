"""What each strategy of fine-tuning is worth on few labelled pictures: measurements for docs/strategy.md.

    OMP_NUM_THREADS=1 python benchmarks/strategies.py --data ../shared/data --weights ../shared/weights
    python benchmarks/strategies.py --progress
    python benchmarks/strategies.py --fit

Subsets of five data sets, two networks with ImageNet weights. A cell is one strategy on one subset; each is a
file below scratch/strategies, written when it is finished, and `--fit` brings those that there are into
benchmarks/results/strategies.json: a second call measures what neither has. A seed draws subset, head and
order. Every subset is seen once before any is seen again. What a cell keeps is 0 or 1 for each test picture;
nothing chooses by them here.
"""

import logging
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from command import arguments
from cut_features import SOURCES
from data_sets import SCRATCH, of_each_class, stored
from kept import arrays, kept
from pages import ROOT
from strategy_cells import ARCHITECTURES, SIDES, SIZES, Cell, Finished, Subset, cells, recipe_of
from strategy_page import progress, write

from thawline.config.sections import Precision, Start, Trainer
from thawline.data.store import Store
from thawline.models import zoo
from thawline.models.cuts import units
from thawline.models.depth import frozen_units
from thawline.models.device import prepare_machine
from thawline.models.head import replace_head
from thawline.models.head_cuts import read_cuts
from thawline.models.inference import logits, worth
from thawline.training.batches import batches
from thawline.training.features.cache import PrefixCache
from thawline.training.finetune import with_method
from thawline.training.head_cuts import cuts_of, pooled_cuts
from thawline.training.run import Training
from thawline.training.solve.choice import choose_cuts
from thawline.training.solve.logistic import logistic_head
from thawline.training.solve.targets import Targets

TESTED = 700
"""Test pictures, as many of each class, where there are more."""
TRAINER = Trainer(accelerator="cpu", threads=1, precision=Precision.float32)
log = logging.getLogger("strategies")


@dataclass(frozen=True)
class Place:
    """Where pictures and weights are, and where to keep what is measured."""

    data: Path
    weights: Path
    folder: Path


def measured(cell: Cell, place: Place) -> dict[str, Any]:
    """Return what a cell finds: 0 or 1 for each test picture, of `heads` what is known before any training as
    well; and seconds."""
    started = time.monotonic()
    store, subset = _store(cell.subset.data, cell.subset.source, place), cell.subset
    pool = np.flatnonzero(store.manifest["split"] == "train")
    train = np.flatnonzero(of_each_class(store.labels, pool, subset.each, subset.seed))
    test = np.flatnonzero(store.manifest["split"] == "val")
    if cell.strategy == "heads":
        found = _heads(cell, store, train, test, place)
    else:
        found = {"correct": _fine_tuned(cell, store, train, test, place)}
    return {**found, "pictures": len(train), "seconds": round(time.monotonic() - started, 1)}


def _store(data: str, source: str, place: Place) -> Store:
    """Return the pictures as the source sees them: `train` those to draw from, `val` the test pictures."""
    side, transform = SIDES[data], SOURCES[source].transform
    resized = transform.resize * side // transform.size if side > 32 else side
    transform = replace(transform, size=side, resize=resized)
    folder = place.folder / "stores" / f"{data}-{source}"
    return stored(data, place.data, transform, folder, TESTED, 2 * max(SIZES))


def _network(subset: Subset, classes: int, place: Place) -> Any:
    return replace_head(SOURCES[subset.source].build(place.weights), classes, subset.seed)[0].eval()


def _heads(cell: Cell, store: Store, train: np.ndarray, test: np.ndarray, place: Place) -> dict[str, Any]:
    """Return what solved heads say, on the last cut and on the cuts that are chosen: out of fold of the
    training pictures at each cut, and of the test pictures."""

    def computed() -> dict[str, Any]:
        network = _network(cell.subset, len(store.classes), place)
        cuts = pooled_cuts(network, store, TRAINER)
        return {"units": len(units(network)), **{str(depth): cut for depth, cut in cuts.items()}}

    values = arrays(place.folder / "features" / f"{cell.subset.data}-{cell.subset.source}.npz", computed)
    count = int(values.pop("units"))
    values = {int(key): each for key, each in values.items()}
    targets = Targets(store.labels[train], len(store.classes))
    choice = choose_cuts({depth: each[train] for depth, each in values.items()}, targets)

    def right(depths: tuple[int, ...]) -> str:
        head = logistic_head([values[depth][train] for depth in depths], targets)
        said = head.logits([values[depth][test] for depth in depths])
        return _digits(said.argmax(1) == store.labels[test])

    return {
        "classes": len(store.classes),
        "units": count,
        "cuts": choice.cuts,
        "singles": {depth: (each.accuracy, each.loss) for depth, each in choice.singles.items()},
        "sets": [(cuts, each.accuracy, each.loss) for cuts, each in choice.sets.items()],
        "correct": right((max(values),)),
        "several": right(choice.cuts),
    }


def _fine_tuned(cell: Cell, store: Store, train: np.ndarray, test: np.ndarray, place: Place) -> str:
    nobody = np.arange(0)
    learn, asked = store.divided(train, nobody), store.divided(nobody, test).part("val")
    recipe, classes = recipe_of(cell, len(train)), len(store.classes)
    if recipe.start is Start.random:
        network = zoo.build(ARCHITECTURES[cell.subset.source], classes, seed=cell.subset.seed)
    else:
        # as a planned run does: the head that fine-tuning starts from is the linear probe's
        heads = Finished(place.folder).get(Cell(cell.subset, "heads"))
        assert heads is not None, "heads come first"
        recipe = replace(recipe, head_cuts=list(heads["cuts"]))
        network = _network(cell.subset, classes, place)
        frozen = frozen_units(recipe.depth, recipe.units, units(network))
        network = read_cuts(network, cuts_of(recipe, network), seed=cell.subset.seed)
        network = with_method(network, recipe, frozen, cell.subset.seed)
    cache, seed = PrefixCache(place.folder / "prefix", TRAINER), cell.subset.seed
    training = Training(network, recipe, learn, TRAINER, seed=seed, mirror=False, cache=cache)
    training.run()
    pictures = batches(asked, recipe.batch_size)
    if not training.features:
        return _digits(worth(*logits(network, pictures, training.device))[0])
    held = training.held
    assert held is not None
    prefix = cache.prefix(held, held.depth, training.device, recipe.batch_size)
    pictures = pictures.given(prefix.variants(asked, pictures))
    found = logits(held, pictures, training.device, from_features=True)
    return _digits(worth(*found)[0])


def _digits(right: np.ndarray) -> str:
    return "".join(map(str, right.astype(int)))


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--weights", type=Path, default=ROOT.parent / "shared" / "weights")
    parser.add_argument("--folder", type=Path, default=SCRATCH / "strategies")
    parser.add_argument(
        "--share", default="0/1", help="0/2 and 1/2: two processes, of which each takes half of the subsets"
    )
    parser.add_argument("--progress", action="store_true", help="only say how far it is")
    parser.add_argument("--fit", action="store_true", help="only write what the finished cells support")
    chosen = parser.parse_args()
    if chosen.fit:
        Finished(chosen.folder).store()
        write(Finished(chosen.folder))
    if chosen.progress or chosen.fit:
        log.info("%s", progress(Finished(chosen.folder)))
        return
    logging.getLogger("thawline").setLevel(logging.WARNING)
    prepare_machine(TRAINER)
    place, finished = Place(chosen.data, chosen.weights, chosen.folder), Finished(chosen.folder)
    mine, shares = map(int, chosen.share.split("/"))
    order = list(dict.fromkeys(cell.subset for cell in cells()))
    for cell in (each for each in cells() if order.index(each.subset) % shares == mine):
        if finished.get(cell) is None:
            found = kept(finished.fresh(cell), measured, cell, place)
            right = found["correct"]
            log.info("%s: %.3f in %.0f s", cell.name, right.count("1") / len(right), found["seconds"])


if __name__ == "__main__":
    main()
