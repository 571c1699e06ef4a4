"""Addition of what a method needs to a network, and its merging into the weights again."""

from torch import nn

from thawline.config.errors import UserError
from thawline.config.recipe.methods import Method
from thawline.models.adapters.adaptation import Adaptation
from thawline.models.adapters.added import added_parameters
from thawline.models.adapters.implementation import implementation
from thawline.models.adapters.weights import merge_weights
from thawline.models.cuts import divide_anew
from thawline.models.randomness import own_randomness

# Attribute of an adapted network, on the network so that a copy of it has it too.
_ADAPTATION = "_adaptation"
_ADD_NOTHING = ", ".join(method.name for method in Method if not method.row.adds)


def adapt(network: nn.Module, adaptation: Adaptation, *, seed: int) -> nn.Module:
    """Return `network` itself, with what `adaptation` adds to its unfrozen units.

    It computes exactly what it computed before (in evaluation mode `torch.equal`), except with `prompt`:
    attention sees further tokens at once. Names and number of units stay, and so do names and values of the
    network's own tensors, but for a weight or bias that is computed now: `conv.weight` becomes
    `conv.parametrizations.weight.original`. Heads and frozen units get nothing. What is added is
    initialised by `seed` alone; the global generator is spared.

    Raises `UserError` when something was added before, or when the network does not allow it.
    """
    added = sorted(added_parameters(network))
    if added:
        raise UserError(
            f"{type(network).__name__} was adapted before: it has {added[0]} and {len(added) - 1} more such "
            f"tensors.\n  Choose a method that adds nothing ({_ADD_NOTHING}), or another source model."
        )
    # steps may be put into its graphs, so no other may read them
    whole = divide_anew(network)
    learning = [unit for unit in whole.units if unit.index not in set(adaptation.frozen)]
    if learning:
        with own_randomness(seed):
            implementation(adaptation.method).add(whole, learning, **adaptation.settings)
    network.__dict__[_ADAPTATION] = adaptation
    return network


def adaptation_in(network: nn.Module) -> Adaptation | None:
    """Return what `adapt` added to `network`; None for a plain or merged one."""
    found: Adaptation | None = network.__dict__.get(_ADAPTATION)
    return found


def merge(network: nn.Module) -> nn.Module:
    """Return `network` itself, as plain as before `adapt`: scale, shift and low-rank changes become part of
    the weights, and the output stays exactly what it was. Adapters and prompts cannot be merged, because they
    are no linear functions of one layer's output: they stay as they are."""
    merge_weights(network)
    if not added_parameters(network):
        network.__dict__.pop(_ADAPTATION, None)
    return network
