"""One frozen prefix whose features are stored: found by what decides them, or computed and put there.

What decides them is the prefix's weights and steps, the pictures, the variant of each that augmentation
makes, precision, threads and code. So epochs, trials, seeds and processes share what is stored, and nothing
can be read that another prefix or other pictures made.
"""

import logging
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import fx, nn

from thawline.artifacts import exclusive, fingerprint
from thawline.config.errors import UserError
from thawline.config.sections import Trainer
from thawline.data.augment import FIXED
from thawline.data.batches import Batches, Rows
from thawline.data.store import Store
from thawline.identity import code_identity
from thawline.machine import GIBIBYTE
from thawline.models.cuts import divide
from thawline.models.device import in_half_precision
from thawline.models.freezing import state_hashes
from thawline.models.layout import in_cache, layout_of
from thawline.models.splitting import part
from thawline.training.batches import batches as batches_of
from thawline.training.features.compute import computed, quick
from thawline.training.features.files import Features, discard, find, make

log = logging.getLogger(__name__)

_FIXED = ("as they are", "mirrored")
"""Variants that no seed decides."""

_PROBES = 2
"""Pictures of every stored part that are computed again when a process first reads it."""


class StoredPrefix:
    """The first `depth` units of `network`, and what they make of pictures, stored in `folder`.

    Args:
        network: the network, or the `PartlyFrozen` that holds it, on `device`.
        settings: in which precision to compute, and how many bytes all entries of `folder` may take together.
        batch: pictures to compute at once.
        checked: addresses that were compared with what the prefix computes; gains others.
    """

    def __init__(
        self,
        network: nn.Module,
        depth: int,
        device: torch.device,
        folder: Path,
        settings: Trainer,
        batch: int,
        checked: set[str],
    ) -> None:
        self.depth, self.device, self.folder, self.batch = depth, device, folder, batch
        self.half, self.limit = in_half_precision(settings), int(settings.prefix_cache_gib * GIBIBYTE)
        self.checked = checked
        self.layout, self.whole = layout_of(network), divide(getattr(network, "_network", network))
        self.side = part(self.whole, 0, depth).eval()
        # of tensors, which parts of different depth share
        self.hashes: dict[int, str] = {}
        self.address = address_of(self.side, self.hashes)
        self.conditions = [
            "half" if self.half else "single",
            torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
            # of modules that a method added, their code, too
            code_identity(__name__, rows=(), also=_own_modules(self.side)),
            f"{torch.get_num_threads()} threads",
            f"{batch} at once",
        ]

    def variants(self, store: Store, batches: Batches, shared: bool = True) -> list[Rows]:
        """Return the rows of each variant of the part's pictures that `batches` of them has.

        shared: of pictures as they are, store those of all that came from where this part did, which folds
        and splits then share.

        Raises:
            UserError: there is no room for all variants, or the prefix mixes pictures.
            OSError: the disk cannot be written to.
        """
        found: list[Rows] = []
        count = batches.variants
        assert count is not None
        if batches.augmentation in FIXED:
            everything = (store, np.arange(len(store)))
            whole, rows = store.origin or everything if shared else everything
            for variant, words in zip(range(count), _FIXED, strict=False):
                each = batches_of(whole, self.batch, augmentation=batches.augmentation, mirror=batches.mirror)
                each.set_epoch(variant)
                stored = self._features(each, f"{whole.fingerprint} {words}", alike=count)
                found.append(partial(_rows_at, stored, rows))
            return found
        batches = batches.in_order(self.batch)
        for variant in range(count):
            batches.set_epoch(variant)
            changed = f"{store.fingerprint} {batches.augmentation} {batches.mirror} {batches.seed} {variant}"
            # those that validate are read beside them
            found.append(self._features(batches, changed, alike=count + 1).rows)
        return found

    def put(self, batches: Batches, store: Store, values: np.ndarray) -> None:
        """Store `values` (n, ...) as the features of the pictures of `store`, which `batches` hold, unless
        they are there or a few of them are not what the prefix computes.

        Raises as `variants`.
        """
        side = quick(self.side, fold=not self.half, layout=self.layout)
        few = self._computed_by(side, self._first(batches, _PROBES)).cpu()
        given = torch.from_numpy(values)
        if (
            few.dtype != given.dtype
            or few.shape[1:] != given.shape[1:]
            or not _close(given[: len(few)], few, 1e-5)
        ):
            return
        known = [f"{store.fingerprint} {_FIXED[0]}", *self.conditions]
        parts = given.split(self.batch)
        make(self.folder, fingerprint([self.address, *known]), len(given), lambda: parts, limit=self.limit)

    def _features(self, batches: Batches, pictures: str, alike: int = 1) -> Features:
        """Return the stored features of one variant of `pictures`, computed first unless they are there;
        `alike` as for `make`."""
        known = [pictures, *self.conditions]
        address = fingerprint([self.address, *known])
        found = find(self.folder, address)
        if found is not None and self._right(found, batches, address):
            return found
        if found is not None:
            log.warning("stored features of this prefix are not what it computes: they are computed again")
            with exclusive(self.folder / f"{address}.lock"):
                discard(self.folder, address)
        found = make(
            self.folder,
            address,
            len(batches.images),
            lambda: self._computed(batches.in_order(self.batch), known),
            limit=self.limit,
            alike=alike,
        )
        if not self._right(found, batches, address):
            raise UserError("what it makes of a picture depends on the pictures beside it, and is not stored")
        return found

    def _right(self, found: Features, batches: Batches, address: str) -> bool:
        """Tell whether the prefix makes of a few pictures what is stored of them: a network's code may have
        changed in a way that no hash of weights sees, and a network may mix pictures."""
        if address in self.checked:
            return True
        images = self._first(batches, _PROBES)
        again = self._computed_by(self.side, images).float().cpu()
        if not again.isfinite().all():
            raise UserError("what it makes of a picture is not a number, and is not stored")
        stored = found.rows(np.arange(len(again))).float()
        right = stored.shape == again.shape and _close(stored, again)
        if right:
            self.checked.add(address)
        return right

    def _first(self, batches: Batches, count: int) -> torch.Tensor:
        return next(iter(batches.in_order(min(count, len(batches.images)))))[0].to(self.device)

    def _computed(self, batches: Batches, known: list[str]) -> Iterator[torch.Tensor]:
        """Yield the features, from the nearest shallower ones that are stored, else from the pictures."""
        depth, shallower = self._shallower(known)
        log.info(
            "frozen prefix (%d units): computing %d pictures once%s",
            self.depth,
            len(batches.images),
            f", from what {depth} units make of them" if shallower else "",
        )
        side = quick(part(self.whole, depth, self.depth), fold=not self.half, layout=self.layout)
        if shallower is None:
            for images, _, _ in batches.on(self.device):
                for each in in_cache(images):
                    yield self._computed_by(side, each)
            return
        # as many at once as from the pictures, so that it is the same to the last bit
        places, one = np.arange(len(shallower)), self._first(batches, 1)
        for start in range(0, len(shallower), self.batch):
            for each in in_cache(shallower.rows(places[start : start + self.batch], self.device), one):
                yield self._computed_by(side, each)

    def _shallower(self, known: list[str]) -> tuple[int, Features | None]:
        """Return the depth of the deepest stored features that are shallower, and these; 0 without any."""
        deepest = self.depth - 1
        if self.depth == len(self.whole.units):
            # a head on several cuts needs more than what crosses a cut behind its first
            deepest = self.whole.divisible(deepest)
        for depth in range(deepest, 0, -1):
            side = part(self.whole, 0, depth).eval()
            stored = find(self.folder, fingerprint([address_of(side, self.hashes), *known]))
            if stored is not None:
                return depth, stored
        return 0, None

    def _computed_by(self, side: nn.Module, given: torch.Tensor) -> torch.Tensor:
        return computed(side, given, self.half, self.layout)


def _own_modules(side: nn.Module) -> tuple[str, ...]:
    """Return the names of this package's modules whose layers `side` has."""
    found = {type(module).__module__ for module in side.modules()}
    return tuple(sorted(name for name in found if name.startswith("thawline.")))


def address_of(prefix: nn.Module, known: dict[int, str] | None = None) -> str:
    """Return a hash of what decides what `prefix` computes: its steps, its layers' settings and the bytes of
    its tensors, some of whose hashes may be `known` by the tensor's `id`."""
    steps = prefix.code if isinstance(prefix, fx.GraphModule) else ""
    hashes = state_hashes(prefix, known)
    return fingerprint([type(prefix).__name__, steps, repr(prefix), repr(sorted(hashes.items()))])


def _rows_at(stored: Features, rows: np.ndarray, indices: np.ndarray, device: torch.device) -> torch.Tensor:
    return stored.rows(rows[indices], device)


def _close(one: torch.Tensor, other: torch.Tensor, share: float = 1e-2) -> bool:
    scale = float(other.abs().max()) or 1.0
    return torch.allclose(one, other, rtol=0, atol=share * scale)
