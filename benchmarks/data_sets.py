"""Data sets that the benchmarks share: NAME.tar, or the folder NAME, with {train,test}/CLASS/FILE; the
embedded digits; and subsets with as many pictures of each class."""

import tempfile
from pathlib import Path

import numpy as np
from pages import ROOT

from thawline.config.sections import DataSet, DataSetName, Role
from thawline.data.collection import Collection
from thawline.data.scan import Scan, scan
from thawline.data.sources import collect
from thawline.data.store import Store, open_store, write_store
from thawline.data.transform import Transform

SCRATCH = ROOT / "scratch"


def collected(name: str, data: Path) -> Collection:
    """Return the pictures of a data set in the folder `data`."""
    if name == "digits":
        return collect(DataSet(dataset=DataSetName.digits), Role.target, 0)
    root = next(each for each in (data / f"{name}.tar", data / name) if each.exists())
    return collect(DataSet(dataset=DataSetName.image_folder, root=str(root)), Role.target, 0)


def scanned(
    name: str, data: Path, transform: Transform, folder: Path, digits: int = 40
) -> tuple[Scan, tuple[str, ...], np.ndarray, np.ndarray]:
    """Return a data set's pictures as `transform` shows them, its classes, their labels (N,) and which are
    for training (N,): by its own division, or `digits` of each class."""
    found = scan(collected(name, data), transform, folder)
    classes, labels = np.unique(found.pictures["label"].to_numpy(str), return_inverse=True)
    train = (found.pictures["split"] != "test").to_numpy()
    if name == "digits":
        train = of_each_class(labels, np.arange(len(labels)), digits, 0)
    return found, tuple(map(str, classes)), labels, train


def stored(
    name: str, data: Path, transform: Transform, folder: Path, tested: int | None = None, digits: int = 40
) -> Store:
    """Return a store of a data set, made once in `folder`: `train`, and as `val` the test pictures, `tested`
    in all of as many of each class."""
    if not (folder / "card.json").is_file():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as temporary:
            found, classes, labels, train = scanned(name, data, transform, Path(temporary), digits)
            each = len(labels) if tested is None else tested // len(classes)
            test = of_each_class(labels, np.flatnonzero(~train), each, 0)
            rows = np.concatenate([np.flatnonzero(train), np.flatnonzero(test)])
            manifest = found.pictures.iloc[rows].assign(split=np.where(train[rows], "train", "val"))
            write_store(folder, found.images, manifest, classes, transform, rows=rows)
    return open_store(folder)


def of_each_class(labels: np.ndarray, rows: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Return a mask (N,) of `count` of the `rows` of each class, drawn by `seed`."""
    order = np.random.default_rng(seed).permutation(rows)
    chosen = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        chosen[order[labels[order] == label][:count]] = True
    return chosen
