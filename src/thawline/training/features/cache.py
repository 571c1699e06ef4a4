"""Which trainings read stored features, and how these come about.

An entry is found by what decides it: the prefix's weights and steps, the pictures, the variant of each that
augmentation makes, precision, threads and code. So epochs, trials, seeds and processes share it, and nothing
can be read that another prefix or other pictures made.
"""

import logging
from collections.abc import Iterator
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import torch
from torch import fx, nn

from thawline.artifacts import exclusive, fingerprint
from thawline.config.errors import UserError
from thawline.config.sections import AugmentationName, PrefixCacheUse, Trainer
from thawline.data.batches import Batches, Rows
from thawline.data.store import Store
from thawline.models.cuts import plan
from thawline.models.device import in_half_precision
from thawline.models.freezing import PartlyFrozen, state_hashes
from thawline.models.layout import in_layout, layout_of
from thawline.models.splitting import part
from thawline.training.batches import batches as batches_of
from thawline.training.code import code_version
from thawline.training.features.compute import computed, quick
from thawline.training.features.files import Features, discard, find, make
from thawline.training.features.worth import Speed, speed_of

log = logging.getLogger(__name__)

FILL_BATCH = 64
"""Pictures the prefix computes at once when its features are stored."""

GIBIBYTE = 2**30

_MEASURED = 16
"""Pictures the prefix computes on a CPU, twice, to measure whether storing pays."""

_PROBES = 2
"""Pictures of every stored part that are computed again when a process first reads it."""

FeatureBatches = tuple[Batches, Batches]
"""Training and validation batches that hold features in place of pictures."""


class PrefixCache:
    """Stored features below `folder`, used as `settings` say (`trainer.prefix_cache`)."""

    def __init__(self, folder: Path, settings: Trainer) -> None:
        self.folder, self.settings = folder, settings
        self.limit = int(settings.prefix_cache_gib * GIBIBYTE)
        self._checked: set[str] = set()
        self._refused: set[str] = set()
        self._said: set[str] = set()

    def feature_batches(
        self,
        held: PartlyFrozen,
        train: tuple[Store, Batches],
        val: tuple[Store, Batches],
        *,
        epochs: int,
        device: torch.device,
        fill_batch: int = FILL_BATCH,
    ) -> FeatureBatches | None:
        """Return batches of what the prefix of `held` makes of both parts; None where the pictures themselves
        are to be used.

        The features of the pictures are computed and stored first, unless they are already.

        Args:
            held: on any device; it is moved to `device`.
            train, val: a part of a store and the batches made of it.
            epochs: how often every picture is going to be used.
        """
        pictures = len(train[0]) + len(val[0])
        if self.settings.prefix_cache is PrefixCacheUse.never or held.depth == 0 or not pictures:
            return None
        if train[1].variants is None:
            self.say("each epoch augments every picture anew (finetune.views stores a number of variants)")
            return None
        held.to(device)
        fill = _Filling(self, held, held.depth, device, fill_batch)
        if fill.address in self._refused:
            return None
        try:
            if self.settings.prefix_cache is PrefixCacheUse.auto and not self._worth(
                fill, train, val, epochs
            ):
                return None
            shared = train[1].augmentation is AugmentationName.none
            found = [batches.given(fill.variants(store, batches, shared)) for store, batches in (train, val)]
        except (UserError, OSError) as error:
            # the pictures are still there
            self.say(str(error), held.depth)
            return None
        return found[0], found[1]

    def features(
        self, network: nn.Module, depth: int, store: Store, batches: Batches, device: torch.device
    ) -> np.ndarray:
        """Return what the first `depth` units of `network` make of every variant of each picture of `store`,
        from what is stored. See `pictures.features`."""
        network.to(device)
        fill = _Filling(self, network, depth, device, FILL_BATCH)
        found = fill.variants(store, batches, shared=True)
        everything = np.arange(len(store))
        return np.concatenate([rows(everything, torch.device("cpu")).float().numpy() for rows in found])

    def _worth(
        self, fill: "_Filling", train: tuple[Store, Batches], val: tuple[Store, Batches], epochs: int
    ) -> bool:
        variants = train[1].variants or 0
        speed = fill.speed(train[1])
        again, stored = speed.seconds(epochs, variants)
        needed = speed.bytes * (len(train[0]) * variants + len(val[0]))
        worth = speed.worth(epochs, variants) and needed <= self.limit
        use = "stored and read" if worth else "computed"
        self.say(
            f"its features, {speed.bytes} bytes a picture, are {use} in each of {epochs} epochs: "
            f"{1e3 * again:.3g} ms a picture to compute them each time, {1e3 * stored:.3g} ms to store them",
            fill.depth,
        )
        if needed > self.limit:
            self.say(f"{needed} bytes of features, but trainer.prefix_cache_gib allows {self.limit}")
        return worth

    def say(self, reason: str, depth: int | None = None) -> None:
        """Once per process: a search has many alike."""
        if reason not in self._said:
            self._said.add(reason)
            unit = "" if depth is None else f" ({depth} units)"
            log.info("frozen prefix%s: %s", unit, reason)


class _Filling:
    """Finds or computes the features of one prefix."""

    def __init__(
        self, cache: PrefixCache, network: nn.Module, depth: int, device: torch.device, batch: int
    ) -> None:
        self.cache, self.network, self.depth, self.device, self.batch = cache, network, depth, device, batch
        self.layout, self.half = layout_of(network), in_half_precision(cache.settings)
        self.whole = plan(getattr(network, "_network", network))
        self.prefix = part(self.whole, 0, depth).eval()
        # of tensors, which parts of different depth share
        self.hashes: dict[int, str] = {}
        self.address = address_of(self.prefix, self.hashes)
        self.conditions = [*conditions(cache.settings, device), f"{batch} at once"]

    def speed(self, batches: Batches) -> Speed:
        """What was measured of the prefix on pictures of this size."""
        # a few keep a CPU busy, but not a GPU
        some = min(_MEASURED, self.batch) if self.device.type == "cpu" else self.batch
        batches = batches.in_order(min(some, len(batches.images)))
        images = next(iter(batches))[0].to(self.device)
        name = fingerprint([self.address, *self.conditions, str(tuple(images.shape))])
        features = partial(self._computed_by, self.prefix, images)
        # as a training computes it
        with in_layout(self.network, self.layout):
            return speed_of(self.cache.folder, name, features, self.device)

    def variants(self, store: Store, batches: Batches, shared: bool) -> list[Rows]:
        """Each variant of the part's pictures; `shared`: with all that came from where the part did."""
        if batches.augmentation is AugmentationName.none:
            everything = (store, np.arange(len(store)))
            # folds and splits share what is computed of all of them
            whole, rows = store.origin or everything if shared else everything
            features = self._features(batches_of(whole, self.batch), f"{whole.fingerprint} as they are")
            return [partial(_at, features, rows)]
        assert batches.variants is not None
        found: list[Rows] = []
        for variant in range(batches.variants):
            batches = batches.in_order(self.batch)
            batches.set_epoch(variant)
            changed = f"{store.fingerprint} {batches.augmentation} {batches.mirror} {batches.seed} {variant}"
            found.append(partial(_at, self._features(batches, changed), None))
        return found

    def _features(self, batches: Batches, pictures: str) -> Features:
        known = [pictures, *self.conditions]
        address = fingerprint([self.address, *known])
        found = find(self.cache.folder, address)
        if found is not None and self._right(found, batches, address):
            return found
        if found is not None:
            log.warning("stored features of this prefix are not what it computes: they are computed again")
            with exclusive(self.cache.folder / f"{address}.lock"):
                discard(self.cache.folder, address)
        found = make(
            self.cache.folder,
            address,
            len(batches.images),
            lambda: self._computed(batches.in_order(self.batch), known),
            limit=self.cache.limit,
        )
        if not self._right(found, batches, address):
            self.cache._refused.add(self.address)
            raise UserError("what it makes of a picture depends on the pictures beside it, and is not stored")
        return found

    def _right(self, found: Features, batches: Batches, address: str) -> bool:
        """Whether the prefix makes of a few pictures what is stored of them: a network's code may have
        changed in a way that no hash of weights sees, and a network may mix pictures."""
        if address in self.cache._checked:
            return True
        images = next(iter(batches.in_order(min(_PROBES, len(batches.images)))))[0].to(self.device)
        again = self._computed_by(self.prefix, images).float().cpu()
        stored = found.rows(np.arange(len(again))).float()
        right = stored.shape == again.shape and _close(stored, again)
        if right:
            self.cache._checked.add(address)
        return right

    def _computed(self, batches: Batches, known: list[str]) -> Iterator[torch.Tensor]:
        """From the nearest shallower features that are stored, else from the pictures."""
        shallower = self._shallower(known)
        log.info(
            "frozen prefix (%d units): computing %d pictures once%s",
            self.depth,
            len(batches.images),
            f", from what {shallower[0]} units make of them" if shallower else "",
        )
        if shallower is None:
            prefix = self._quick(self.prefix)
            for images, _, _ in batches:
                yield self._computed_by(prefix, images.to(self.device))
            return
        _, rest, stored = shallower
        places = np.arange(len(stored))
        for start in range(0, len(stored), self.batch):
            given = stored.rows(places[start : start + self.batch], self.device)
            yield self._computed_by(rest, given)

    def _quick(self, side: nn.Module) -> nn.Module:
        return quick(side, fold=not self.half, layout=self.layout)

    def _computed_by(self, side: nn.Module, given: torch.Tensor) -> torch.Tensor:
        return computed(side, given, self.half, self.layout)

    def _shallower(self, known: list[str]) -> tuple[int, nn.Module, Features] | None:
        for depth in range(self.depth - 1, 0, -1):
            side = part(self.whole, 0, depth).eval()
            stored = find(self.cache.folder, fingerprint([address_of(side, self.hashes), *known]))
            if stored is not None:
                return depth, self._quick(part(self.whole, depth, self.depth).to(self.device)), stored
        return None


def address_of(prefix: nn.Module, known: dict[int, str] | None = None) -> str:
    """What decides what `prefix` computes: its steps, its layers' settings and the bytes of its tensors, some
    of whose hashes may be `known` by the tensor's `id`."""
    steps = prefix.code if isinstance(prefix, fx.GraphModule) else ""
    hashes = state_hashes(prefix, known)
    return fingerprint([type(prefix).__name__, steps, repr(prefix), repr(sorted(hashes.items()))])


def conditions(settings: Trainer, device: torch.device) -> list[str]:
    """What else decides the bits of features: precision, device, and code with its threads."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return ["half" if in_half_precision(settings) else "single", name, _code(torch.get_num_threads())]


@lru_cache
def _code(threads: int) -> str:  # noqa: ARG001, code_version asks for them itself
    return code_version()


def _at(
    features: Features, rows: np.ndarray | None, indices: np.ndarray, device: torch.device
) -> torch.Tensor:
    return features.rows(indices if rows is None else rows[indices], device)


def _close(one: torch.Tensor, other: torch.Tensor) -> bool:
    scale = float(other.abs().max()) or 1.0
    return torch.allclose(one, other, rtol=0, atol=1e-2 * scale)
