"""Full: every parameter learns."""

from torch import nn


def learning(network: nn.Module) -> set[str]:
    """Return the names of the parameters that learn: all of them."""
    return {name for name, _ in network.named_parameters()}
