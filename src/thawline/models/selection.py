"""Selection of what learns in a network: which parameters, and where BatchNorm goes on estimating."""

from collections.abc import Collection
from dataclasses import dataclass

from torch import nn
from torch.nn.modules import batchnorm

from thawline.config.errors import UserError
from thawline.config.recipe.meaning import AFFINE, MOVING
from thawline.config.sections import BatchNorm, Method
from thawline.models.adapters.added import added_parameters
from thawline.models.adapters.implementation import implementation
from thawline.models.cuts import Division, divide
from thawline.models.head import head_parameters
from thawline.models.splitting import held_by_rest
from thawline.models.thawing import held_parameters


@dataclass(frozen=True)
class Selection:
    """The part of one network that learns; everything else is frozen.

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
    """Return what learns in `network` when the units with the indices `frozen` do not.

    The heads learn; in units that are not frozen, what the module of `method` says does: every parameter,
    some kind of parameters, or what `adapt` added and nothing else. Parameters of no unit (behind the last
    cut, or in auxiliary branches) count as not frozen. BatchNorm layers follow `frozen_batch_norm` in frozen
    units, where scale and shift may learn whatever the method, and `batch_norm` in all others, where they
    learn only if the method selects them, too; what `adapt` added to such a layer always learns.

    Auxiliary branches that read something from inside the leading units in which nothing changes are never
    computed: nothing learns there, their heads included. Neither does a parameter that required no gradient
    before any freezing.

    Raises:
        ValueError: an index is not one of the network's units.
    """
    whole = divide(network)
    unknown = sorted(set(frozen) - set(range(len(whole.units))))
    if unknown:
        raise ValueError(f"no units {unknown} to freeze: indices go from 0 to {len(whole.units) - 1}")
    held = {
        name for unit in whole.units if unit.index in frozen for name in (*unit.parameters, *unit.buffers)
    }
    able = {name for name, tensor in network.named_parameters() if tensor.requires_grad}
    able |= held_parameters(network)
    learning = head_parameters(network) | (implementation(method).learning(network) - held)
    moving, added = set(), added_parameters(network)
    for path, layer in batch_norms(network).items():
        tensors = [f"{path}.{name}" for name, _ in (*layer.named_parameters(), *layer.named_buffers())]
        inside = not held.isdisjoint(tensors)
        policy = frozen_batch_norm if inside else batch_norm
        if policy not in AFFINE:
            # what was added beside the layer's own scale and shift is the method's, not BatchNorm's
            learning.difference_update(set(tensors) - added)
        elif inside:
            learning.update(tensors)
        if policy in MOVING and layer.running_mean is not None:
            moving.add(path)
    return _without_idle(whole, Selection(frozenset(frozen), frozenset(learning & able), frozenset(moving)))


def require_learning(
    network: nn.Module,
    frozen: Collection[int],
    *,
    method: Method,
    frozen_batch_norm: BatchNorm = BatchNorm.frozen,
    batch_norm: BatchNorm = BatchNorm.train,
) -> None:
    """Raise `UserError` when some units are not frozen and yet nothing but the heads would learn: `method`
    finds nothing in them, and what it found would be a linear probe by another name.

    The arguments are those of `select`; `network` is adapted already where `method` adds something.
    """
    others = len(divide(network).units) - len(frozen)
    if method is Method.full or not others:
        return
    heads = head_parameters(network)

    def learns(policy: BatchNorm) -> bool:
        selection = select(
            network, frozen, method=method, frozen_batch_norm=frozen_batch_norm, batch_norm=policy
        )
        return not selection.parameters <= heads

    if not learns(batch_norm):
        train = ", finetune.batch_norm=train" if learns(BatchNorm.train) else ""
        raise UserError(
            f"method = {method.name} with batch_norm = {batch_norm.name} finds nothing that could learn in "
            f"the {others} unfrozen units of {type(network).__name__}: only the head would.\n"
            f"  Choose another method{train}, a smaller depth, or finetune=linear_probe."
        )


def batch_norms(network: nn.Module) -> dict[str, batchnorm._NormBase]:
    """Return the layers that have estimated statistics (or, without statistics, are BatchNorm), by path."""
    layers = [(path, m) for path, m in network.named_modules() if isinstance(m, batchnorm._NormBase)]
    return {
        path: layer
        for path, layer in layers
        if isinstance(layer, batchnorm._BatchNorm) or layer.running_mean is not None
    }


def quiet_units(whole: Division, selection: Selection) -> int:
    """Return how many leading units there are in which nothing learns and no statistics move, and behind
    which the network can be cut in two."""
    for unit in whole.units:
        owners = {name.rpartition(".")[0] for name in unit.buffers}
        if not selection.parameters.isdisjoint(unit.parameters) or not selection.moving.isdisjoint(owners):
            return whole.divisible(unit.index)
    return len(whole.units)


def _without_idle(whole: Division, selection: Selection) -> Selection:
    """Leave out what hangs off the quiet units: it is not computed, so nothing learns or moves there."""
    depth = quiet_units(whole, selection)
    if depth == 0:
        return selection
    held = held_by_rest(whole, depth)
    modules, tensors = ({id(each) for each in kind} for kind in held)
    network = whole.trace.network
    return Selection(
        selection.frozen,
        frozenset(name for name in selection.parameters if id(network.get_parameter(name)) in tensors),
        frozenset(path for path in selection.moving if id(network.get_submodule(path)) in modules),
    )
