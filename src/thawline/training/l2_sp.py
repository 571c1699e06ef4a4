"""L2-SP: what comes from the source model is pulled back to where it started."""

from collections.abc import Collection, Iterable

import torch
from torch import nn

from thawline.models.adapters.added import added_parameters
from thawline.models.head import head_parameters


class L2SP:
    """The gradient of `strength` / 2 times the squared distance of `parameters` from where they are now.

    Li, Grandvalet & Davoine 2018, "Explicit Inductive Bias for Transfer Learning", in place of weight
    decay.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], strength: float) -> None:
        self.strength = strength
        self._started = [(each, each.detach().clone()) for each in parameters]

    @torch.no_grad()
    def add_gradient(self) -> None:
        """Add it to each parameter's `grad`; one that got no gradient has not moved and stays without."""
        for index, (parameter, start) in enumerate(self._started):
            if parameter.grad is None:
                continue
            if start.device != parameter.device:
                start = start.to(parameter.device)
                self._started[index] = (parameter, start)
            parameter.grad.add_(parameter - start, alpha=self.strength)


def pull_to_source(network: nn.Module, learning: Collection[str], strength: float) -> L2SP:
    """Return the pull on what was copied from the source model into `network` and learns; `learning` names
    the parameters that do."""
    names = sorted(set(learning) - head_parameters(network) - added_parameters(network))
    return L2SP([network.get_parameter(name) for name in names], strength)
