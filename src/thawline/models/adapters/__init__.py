"""What is added to a network so that it learns while its own weights stay: scale and shift, low-rank
changes, bottlenecks, prompt tokens."""

from thawline.models.adapters.adapt import adapt, adaptation_in, added_parameters, merge
from thawline.models.adapters.adaptation import Adaptation, adaptation_of
from thawline.models.adapters.weights import plain_name

__all__ = [
    "Adaptation",
    "adapt",
    "adaptation_in",
    "adaptation_of",
    "added_parameters",
    "merge",
    "plain_name",
]
