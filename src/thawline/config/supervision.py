"""The section `supervise`: what each training picture's target is."""

from dataclasses import dataclass

from thawline.config.checks import positive, require
from thawline.config.choices import Doubt


@dataclass
class Supervise:
    """What each training picture's target is, where its label is not all there is to say."""

    doubt: Doubt = Doubt.none
    """weigh: pictures count less the more their label is doubted by heads that they did not teach (confident
    learning, Northcutt et al. 2021); none: all count alike."""
    confidence: float = 0.95
    """Coverage of the interval of the gain in out-of-fold accuracy that must lie above zero before unlabelled
    pictures (`target.unlabelled`) teach. A few labelled pictures show no gain so surely, however large it is:
    a lower value then takes more of what helps, and more of what does not."""

    def __post_init__(self) -> None:
        positive(self, "confidence")
        require(self.confidence < 1, "confidence", self.confidence, "between 0 and 1")
