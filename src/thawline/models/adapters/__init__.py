"""Methods of fine-tuning, a module each: what learns under it, and what is added to the network so that it
learns while the network's own weights stay."""

from thawline.models.adapters.adapt import adapt, adaptation_in, merge
from thawline.models.adapters.adaptation import Adaptation, adaptation_of
from thawline.models.adapters.added import added_parameters
from thawline.models.adapters.implementation import implementation
from thawline.models.adapters.weights import plain_name

__all__ = [
    "Adaptation",
    "adapt",
    "adaptation_in",
    "adaptation_of",
    "added_parameters",
    "implementation",
    "merge",
    "plain_name",
]
