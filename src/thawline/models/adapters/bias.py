"""BitFit (Ben Zaken et al. 2022): only biases learn."""

from torch import nn


def learning(network: nn.Module) -> set[str]:
    """Return the names of the parameters that learn: the biases, those of attention and normalisation too."""
    return {name for name, _ in network.named_parameters() if name.endswith("bias")}
