"""A head on several cuts: what leading units make of a picture, pooled, standardised and put side by side.

The last cut of a network fits what it was pretrained on, and earlier ones hold what it has thrown away
(Head2Toe, Evci and others 2022). Such a head reads the mean over positions of each channel at each of its
cuts, the last one always among them. Names and number of units stay, and so do all tensors of the body.
"""

from collections.abc import Collection

import numpy as np
import torch
from torch import fx, nn

from thawline.config.errors import UserError
from thawline.models.adapters.rewriting import add_modules, install
from thawline.models.adapters.shapes import channel_axis, shapes_of
from thawline.models.cuts import Division, divide_anew
from thawline.models.head import put_linear_head
from thawline.models.tracing import Leaf, Tap, results_of

NAME = "head_cuts"
"""Name of the sub-module with what such a head reads by."""

# Attribute of the network, so that a copy of it has it too.
_CUTS = "_head_cuts"


class Pooled(Tap):
    """The mean over the axes `positions`: (B, C) of (B, C, H, W), of tokens (B, T, C) or of (B, H, W, C)."""

    def __init__(self, positions: tuple[int, ...]) -> None:
        super().__init__()
        self.positions = positions

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return features.mean(self.positions) if self.positions else features

    def extra_repr(self) -> str:
        return str(self.positions)


class SideBySide(Leaf, nn.Module):
    """The pooled channels of all cuts as one row: (pooled - mean) * scale, (B, D).

    `mean` (D,) and `scale` (D,) are buffers, not parameters: they stay what `standardise` made them. `widths`
    are the channels of each cut.
    """

    mean: torch.Tensor
    scale: torch.Tensor

    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.widths = widths
        self.register_buffer("mean", torch.zeros(sum(widths)))
        self.register_buffer("scale", torch.ones(sum(widths)))

    def forward(self, *pooled: torch.Tensor) -> torch.Tensor:
        return (torch.cat(pooled, 1) - self.mean) * self.scale

    @torch.no_grad()
    def standardise(self, mean: np.ndarray, scale: np.ndarray) -> None:
        """From now on take off `mean` (D,) and multiply by `scale` (D,)."""
        self.mean.copy_(torch.from_numpy(mean))
        self.scale.copy_(torch.from_numpy(scale))

    def reset(self) -> None:
        """From now on hand pooled channels over as they are."""
        self.standardise(np.zeros(len(self.mean)), np.ones(len(self.scale)))

    def standardised(self, rows: np.ndarray) -> np.ndarray:
        """Return pooled channels (N, D), as they were handed over before, as they are handed over now."""
        mean, scale = (each.cpu() for each in (self.mean, self.scale))
        found: np.ndarray = ((torch.from_numpy(rows) - mean) * scale).numpy()
        return found

    def extra_repr(self) -> str:
        return f"widths={self.widths}"


def read_cuts(network: nn.Module, cuts: Collection[int], *, seed: int) -> nn.Module:
    """Return `network` itself, with a new head that reads the cuts at the depths `cuts` and the last one.

    Where that is the last one alone, it keeps its own head. The new one is a linear layer (of the old one's
    variant) behind a `SideBySide`, initialised by `seed` alone.

    Raises `UserError` for depths that are not from 1 to the number of units, for a network whose head reads
    several cuts already or that has auxiliary heads, and where a cut has other than 2 to 4 axes.
    """
    if not cuts:
        return network
    whole = divide_anew(network)
    last = len(whole.units)
    depths = tuple(sorted({*cuts, last}))
    _require_possible(whole, depths)
    if depths == (last,):
        return network
    shapes = shapes_of(whole.trace, [whole.alive[depth] for depth in depths])
    pools = {str(depth): _pool(depth, shape) for depth, shape in zip(depths, shapes, strict=True)}
    widths = tuple(shape[channel_axis(shape)] for shape in shapes)
    modules = nn.ModuleDict({**pools, "together": SideBySide(widths)})
    add_modules(network, NAME, modules)
    put_linear_head(network, whole.head, sum(widths), seed)
    _read(whole, depths)
    install(whole.trace, [whole.trace.main])
    network.__dict__[_CUTS] = depths
    return network


def cuts_read(network: nn.Module) -> tuple[int, ...]:
    """Return the depths of the cuts that the head of `network` reads; none where it is a network's own."""
    found: tuple[int, ...] = network.__dict__.get(_CUTS, ())
    return found


def side_by_side(network: nn.Module) -> SideBySide | None:
    """Return the module that standardises what a head on several cuts reads; None for a network's own."""
    found = getattr(network, NAME, None)
    together = found["together"] if isinstance(found, nn.ModuleDict) else None
    return together if isinstance(together, SideBySide) else None


def standardising(network: nn.Module) -> set[str]:
    """Return the names of the buffers by which a head on several cuts standardises what it reads."""
    names = (f"{NAME}.together.{name}" for name in ("mean", "scale"))
    return set(names) if side_by_side(network) is not None else set()


def _require_possible(whole: Division, depths: tuple[int, ...]) -> None:
    network, last = whole.trace.network, len(whole.units)
    if whole.taps:
        raise UserError(f"the head of this {type(network).__name__} reads several cuts already")
    if depths[0] < 1 or depths[-1] > last:
        raise UserError(
            f"head_cuts = {list(depths)} is not allowed for a network of {last} units.\n"
            f"  allowed: counts from 1 to {last} of leading units whose output is read"
        )
    training = whole.trace.training
    if training is not None and len(results_of(training)) > 1:
        raise UserError(
            f"{type(network).__name__} has auxiliary heads, and then its head cannot read several cuts.\n"
            "  set finetune.head_cuts=[] (the last cut alone)"
        )


def _pool(depth: int, shape: torch.Size) -> Pooled:
    if len(shape) not in (2, 3, 4):
        raise UserError(
            f"what {depth} units make of a picture has {len(shape)} axes, and a head can read 2 to 4: "
            "(B, C), (B, T, C), (B, C, H, W) or (B, H, W, C).\n  Leave this cut out of finetune.head_cuts."
        )
    axis = channel_axis(shape)
    return Pooled(tuple(each for each in range(1, len(shape)) if each != axis))


def _read(whole: Division, depths: tuple[int, ...]) -> None:
    """Change the steps of `whole`: taps behind the cuts, the head on what they read, nothing behind it."""
    graph, taps = whole.trace.main, list[fx.Node]()
    for depth in depths:
        with graph.inserting_after(whole.nodes[whole.positions[depth]]):
            taps.append(graph.call_module(f"{NAME}.{depth}", (whole.alive[depth],)))
    with graph.inserting_after(taps[-1]):
        together = graph.call_module(f"{NAME}.together", tuple(taps))
    with graph.inserting_after(together):
        head = graph.call_module(whole.head, (together,))
    *before, output = whole.nodes[whole.positions[-1] + 1 :]
    output.args = (head,)
    for node in reversed(before):
        if not node.users:
            graph.erase_node(node)
