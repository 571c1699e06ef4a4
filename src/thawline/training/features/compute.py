"""How a frozen prefix is computed, and how it is computed fastest."""

import copy
from collections.abc import Collection

import numpy as np
import torch
from torch import nn

from thawline.data.batches import Batches
from thawline.models.cuts import divide
from thawline.models.folding import folded
from thawline.models.layout import in_cache, laid_out, lay_out, layout_of
from thawline.models.splitting import part, require_rows


@torch.no_grad()
def computed(
    side: nn.Module,
    given: torch.Tensor,
    half: bool,
    layout: torch.memory_format,
) -> torch.Tensor:
    """Return `side(given)` without gradient, in the precision and layout of a training.

    Raises `UserError` when the network does not keep pictures apart at this depth.
    """
    with torch.autocast(given.device.type, torch.bfloat16, enabled=half):
        features: torch.Tensor = side(laid_out(given, layout))
    require_rows(features, given)
    return features


def features_in_memory(
    network: nn.Module,
    depths: Collection[int],
    batches: Batches,
    device: torch.device,
    *,
    half: bool = False,
) -> dict[int, np.ndarray]:
    """Return what the first units of `network` make of each picture, for each number of units in `depths`,
    computed in one pass: (n, …) float32.

    The network, or the `PartlyFrozen` that holds it, is moved to `device` and stays there.
    """
    whole, layout = divide(getattr(network.to(device), "_network", network)), layout_of(network)
    bounds = sorted(set(depths))
    sides = [part(whole, *pair) for pair in zip([0, *bounds], bounds, strict=False)]
    sides = [quick(side, fold=not half, layout=layout) for side in sides]
    found: dict[int, list[np.ndarray]] = {depth: [] for depth in bounds}
    for pictures, _, _ in batches.on(device):
        for features in in_cache(pictures):
            for depth, side in zip(bounds, sides, strict=True):
                features = computed(side, features, half, layout)
                found[depth].append(features.float().cpu().numpy())
    return {depth: np.concatenate(parts) for depth, parts in found.items()}


def sizes(network: nn.Module, pictures: torch.Tensor) -> dict[int, int]:
    """Return how many numbers cross the cut for each picture, at every depth from 0 (the picture itself) to
    all units. The network is moved to the device of `pictures` (B, C, H, W) and stays there."""
    layout, whole = layout_of(network), divide(network.to(pictures.device))
    found = {0: pictures[0].numel()}
    for depth in range(len(whole.units)):
        pictures = computed(part(whole, depth, depth + 1).eval(), pictures, False, layout)
        found[depth + 1] = pictures[0].numel()
    return found


def quick(
    side: nn.Module, *, fold: bool = True, layout: torch.memory_format = torch.channels_last
) -> nn.Module:
    """Return a copy of a frozen `side` of a network that gives the same but for rounding, faster.

    fold: make each BatchNorm layer part of the convolution before it; not for low precision, where the folded
    kernel is rounded elsewhere. layout: in which kernels lie.
    """
    side = copy.deepcopy(side).eval()
    side = folded(side) if fold else side
    lay_out(side, layout)
    return side
