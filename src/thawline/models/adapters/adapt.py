"""Adding to a network what a method needs, and merging it into the weights again."""

from torch import nn

from thawline.config.errors import UserError
from thawline.config.sections import Method
from thawline.models.adapters.adaptation import Adaptation
from thawline.models.adapters.bottleneck import add_adapters
from thawline.models.adapters.prompts import add_prompts
from thawline.models.adapters.weights import add_low_rank, add_scale_and_shift, merge_weights
from thawline.models.cuts import new_plan
from thawline.models.randomness import own_randomness
from thawline.models.tracing import Added

# Attribute of an adapted network, on the network so that a copy of it has it too.
_ADAPTATION = "_adaptation"


def adapt(network: nn.Module, adaptation: Adaptation, *, seed: int) -> nn.Module:
    """`network` itself, with what `adaptation` adds to its unfrozen units.

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
            "tensors.\n  Choose a method that adds nothing (full, bias, norm), or another source model."
        )
    # steps may be put into its graphs, so no other may read them
    whole = new_plan(network)
    learning = [unit for unit in whole.units if unit.index not in set(adaptation.frozen)]
    names = [name for unit in learning for name in unit.parameters]
    with own_randomness(seed):
        if adaptation.method is Method.lora:
            add_low_rank(network, names, adaptation.lora_rank, adaptation.lora_scale)
        elif adaptation.method is Method.scale_shift:
            add_scale_and_shift(network, names)
        elif learning and adaptation.method is Method.adapter:
            add_adapters(whole, learning, adaptation.adapter_width)
        elif learning and adaptation.method is Method.prompt:
            add_prompts(whole, learning, adaptation.prompt_tokens, adaptation.prompt_deep)
    network.__dict__[_ADAPTATION] = adaptation
    return network


def adaptation_in(network: nn.Module) -> Adaptation | None:
    """What `adapt` added to `network`; None for a plain or merged one."""
    found: Adaptation | None = network.__dict__.get(_ADAPTATION)
    return found


def added_parameters(network: nn.Module) -> frozenset[str]:
    """Names of the parameters that `adapt` added."""
    added = [(path, module) for path, module in network.named_modules() if isinstance(module, Added)]
    return frozenset(f"{path}.{name}" for path, module in added for name, _ in module.named_parameters())


def merge(network: nn.Module) -> nn.Module:
    """`network` itself, as plain as before `adapt`: scale, shift and low-rank changes become part of the
    weights, and the output stays exactly what it was. Adapters and prompts cannot be merged, because
    they are no linear functions of one layer's output: they stay as they are."""
    merge_weights(network)
    if not added_parameters(network):
        network.__dict__.pop(_ADAPTATION, None)
    return network
