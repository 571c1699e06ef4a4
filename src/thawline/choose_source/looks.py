"""What each candidate makes of the same pictures, each decoded as its network wants them."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from thawline.choose_source.decision import with_candidate
from thawline.config.sections import Config, Role
from thawline.data.batches import Batches
from thawline.data.decoding import Decoder
from thawline.data.prepare import divided
from thawline.data.split_names import VOTED
from thawline.data.store import groups_of
from thawline.data.transform import Transform
from thawline.data.votes import collected
from thawline.models.cuts import divide, logits_of, units
from thawline.models.device import in_half_precision, prepare_machine
from thawline.models.freezing import hold
from thawline.models.preprocessing import transform_for
from thawline.models.selection import select
from thawline.models.source_head import has_head
from thawline.models.splitting import part
from thawline.models.thawing import thaw
from thawline.models.weights import source_model_from_weights
from thawline.training.cost import flops_if_possible
from thawline.training.features.cache import FILL_BATCH
from thawline.training.features.compute import features_in_memory
from thawline.training.solve.choice import MOST_ROWS, deciding_rows
from thawline.training.solve.targets import Targets

PASSES_A_MINUTE = 100
"""Forward passes of all candidates together for each of `plan.minutes`: about a tenth of the time, where a
network takes 0.05 s for a picture. The clock itself is not asked, so that the decision repeats."""
FEWEST = 50
"""Pictures that decide at least."""


@dataclass(frozen=True, eq=False)
class Look:
    """One candidate's view of N pictures.

    `features` (N, D) float64 are the means over positions at the last cut; `said` (N, Z) is how probable the
    source's own head takes each of its classes for, None without one. `operations` of one picture are
    infinite where they could not be counted. `seconds` are those of a picture's features, decoding left out.
    `origin` says which weights these are.
    """

    features: np.ndarray
    said: np.ndarray | None
    operations: float
    pixels: int
    seconds: float
    origin: str


def looked_at(config: Config, directory: Path) -> tuple[Targets, Iterator[Look]]:
    """Return which training and validation pictures of the target decide, and what each candidate makes of
    them, one after the other.

    The pictures are those of the target's split but for those that were voted for beside labels; of test
    pictures only the division is known. Of more, 1,000 decide (fewer where there are few minutes), of each
    class about the same share, groups whole.

    Args:
        directory: for a file that vanishes with the process.
    """
    prepare_machine(config.trainer)
    configs = [with_candidate(config, place) for place in range(len(config.source.candidates))]
    # before anything is decoded, so that a name that nobody knows ends this at once
    transforms = [transform_for(each) for each in configs]
    data = config.target
    collection, _ = collected(data, Role.target, config.seed)
    scanned, decision, shown, _ = divided(
        data, Role.target, config.seed, collection, transforms[0], directory
    )
    # what was voted for beside labels teaches, and measures nothing
    labelled = (scanned.pictures["split"] != VOTED).to_numpy()
    learnt = np.flatnonzero(np.isin(decision.names, ("train", "val")) & labelled)
    pictures = scanned.pictures.assign(group=decision.groups).iloc[learnt]
    classes, labels = np.unique(pictures["label"].to_numpy(str), return_inverse=True)
    targets = Targets(labels, len(classes), groups=groups_of(pictures))
    chosen = deciding_rows(targets, config.seed, most_pictures(config))
    targets, rows = targets.rows(chosen), learnt[chosen]

    def looks() -> Iterator[Look]:
        for each, transform in zip(configs, transforms, strict=True):
            transform = replace(transform, range=shown.range)
            if _pixels(transform) == _pixels(shown):
                images = scanned.images[rows]
            else:
                decoder = Decoder(transform, data.max_megapixels)
                what = f"decoding for {each.model.architecture}"
                images = np.stack(list(scanned.decoded(collection, decoder, rows, what)))
            yield look(each, transform, images, targets.labels)

    return targets, looks()


def most_pictures(config: Config) -> int:
    """Return how many pictures decide at most, in the minutes that there are for everything."""
    if config.plan.minutes is None:
        return MOST_ROWS
    each = PASSES_A_MINUTE * config.plan.minutes / len(config.source.candidates)
    return round(min(MOST_ROWS, max(FEWEST, each)))


def _pixels(transform: Transform) -> Transform:
    """Return what decides the pixels of a decoded picture: all but the normalisation."""
    return replace(transform, mean=(), std=())


def look(config: Config, transform: Transform, images: np.ndarray, labels: np.ndarray) -> Look:
    """Return what the source model of `config` makes of pictures (N, size, size, channels) uint8."""
    network, card = source_model_from_weights(config)
    device, last = prepare_machine(config.trainer), len(units(network))
    operations = _operations(network, last, transform.shape)
    batches = Batches(images, labels, transform, FILL_BATCH, shuffle=False)
    started = time.perf_counter()
    half = in_half_precision(config.trainer)
    found = features_in_memory(network, {last}, batches, device, half=half)[last]
    seconds = time.perf_counter() - started
    said = _said(network.cpu(), last, found) if has_head(network, card) else None
    rows = found.mean(tuple(range(2, found.ndim))).astype(np.float64)
    return Look(rows, said, operations, transform.size, seconds / len(images), card.origin)


def _operations(network: nn.Module, last: int, shape: tuple[int, ...]) -> float:
    # of a network of which the head alone learns, they are counted without PyTorch's compiler
    held = hold(network, select(network, range(last)))
    try:
        counted = flops_if_possible(held, shape, 2)
    finally:
        thaw(network)
    return float("inf") if counted is None else float(counted.forward)


def _said(network: nn.Module, last: int, features: np.ndarray) -> np.ndarray:
    """Return the probabilities (N, Z) of the source's classes, from features at the last cut."""
    head = part(divide(network), last).eval()
    with torch.inference_mode():
        logits = logits_of(head(torch.from_numpy(features)))[0]
    found: np.ndarray = logits.double().softmax(1).numpy()
    return found
