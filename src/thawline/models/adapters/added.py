"""Names of what a method added to a network."""

from torch import nn

from thawline.models.tracing import Added


def added_parameters(network: nn.Module) -> frozenset[str]:
    """Return the names of the parameters that `adapt` added."""
    added = [(path, module) for path, module in network.named_modules() if isinstance(module, Added)]
    return frozenset(f"{path}.{name}" for path, module in added for name, _ in module.named_parameters())
