"""What in a picture speaks for a class: Grad-CAM (Selvaraju and others, 2017, arXiv:1610.02391).

It is taken at the last cut whose value has rows and columns, so no architecture has to name a layer for it.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import fx, nn

from thawline.models.adapters.shapes import channel_axis, reporting
from thawline.models.cuts import Division, cuts_of, divide
from thawline.models.steps import State
from thawline.models.tracing import results_of


class Maps(NamedTuple):
    """`values` (N, rows, columns) float32 from 0 to 1, the largest of each picture being 1, or 0
    where nothing speaks for the class; `after` names the unit that the cut is in."""

    values: np.ndarray
    after: str


def grad_cam(network: nn.Module, pictures: torch.Tensor, classes: torch.Tensor) -> Maps | None:
    """Return where `network`, in evaluation mode, finds what speaks for a class in each picture.

    The channels at the cut are weighted by the mean gradient of the class's logit and added up; what speaks
    against the class is left out. None for networks without a map of at least 2 by 2 at any cut, such as
    transformers, whose tokens have no rows and columns.

    pictures: (N, channels, H, W), normalised. classes: (N,) int64. Both on the network's device.
    """
    whole = divide(network)
    cut = _last_map(whole, pictures[:1])
    if cut is None:
        return None
    logits, *_ = results_of(whole.trace.main)
    with torch.enable_grad():
        features, said = reporting(whole.trace, [cut, logits])(pictures)
        (gradient,) = torch.autograd.grad(said.gather(1, classes[:, None]).sum(), features)
    weights = gradient.mean(_places(features.shape), keepdim=True)
    found = (weights * features.detach()).sum(channel_axis(features.shape)).relu()
    found = found / found.amax((1, 2), keepdim=True).clamp(min=torch.finfo(found.dtype).tiny)
    return Maps(found.cpu().numpy(), _unit_of(whole, cut))


def _last_map(whole: Division, picture: torch.Tensor) -> fx.Node | None:
    """Return the step that makes the last value with rows and columns that alone crosses a cut; None where
    tokens, which have none, come after it."""
    end = next(at for at, node in enumerate(whole.nodes) if str(node.target) == whole.head)
    cuts = [node for at, node in cuts_of(whole.nodes, State(whole.trace), whole.taps) if 0 < at < end]
    with torch.no_grad():
        values = reporting(whole.trace, cuts)(picture)
    for node, value in zip(reversed(cuts), reversed(values), strict=True):
        if value.dim() == 3:
            return None
        if value.dim() == 4 and min(value.shape[axis] for axis in _places(value.shape)) > 1:
            return node
    return None


def _places(shape: torch.Size) -> list[int]:
    """Return the axes of rows and columns."""
    return [axis for axis in (1, 2, 3) if axis != channel_axis(shape)]


def _unit_of(whole: Division, node: fx.Node) -> str:
    at = whole.nodes.index(node)
    return next(
        (unit.name for unit, end in zip(whole.units, whole.positions[1:], strict=True) if at <= end),
        whole.units[-1].name,
    )
