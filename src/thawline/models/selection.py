"""What of a network learns: which parameters, and where BatchNorm goes on estimating statistics."""

from collections.abc import Collection
from dataclasses import dataclass

from torch import nn

from thawline.config.sections import BatchNorm, Method


@dataclass(frozen=True)
class Selection:
    """What of one network learns; everything else is frozen.

    `frozen` are the indices of the frozen units, `parameters` the names of the parameters that learn
    (the heads' among them), `moving` the module paths of the BatchNorm layers that normalise by the batch
    and go on estimating their statistics.
    """

    frozen: frozenset[int]
    parameters: frozenset[str]
    moving: frozenset[str]


def select(
    network: nn.Module,
    frozen: Collection[int],
    *,
    method: Method = Method.full,
    frozen_batch_norm: BatchNorm = BatchNorm.frozen,
    batch_norm: BatchNorm = BatchNorm.train,
) -> Selection:
    """What learns in `network` when the units with the indices `frozen` do not."""
    raise NotImplementedError
