"""Norm: only scale and shift of normalisation layers learn."""

from torch import nn

from thawline.models.steps import NORMALISATIONS


def learning(network: nn.Module) -> set[str]:
    """Return the names of the parameters that learn: of every layer that is of one of torch's kinds of
    normalisation, or is called one and made of vectors."""
    found = set()
    for path, module in network.named_modules():
        own = dict(module.named_parameters(recurse=False))
        called_one = "norm" in type(module).__name__.lower()
        vectors = called_one and all(tensor.dim() == 1 for tensor in own.values())
        if isinstance(module, NORMALISATIONS) or vectors:
            found |= {f"{path}.{name}" for name in own}
    return found
