"""The section `supervise`: what each training picture's target is."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from thawline.config.checks import positive, require
from thawline.config.choices import Doubt

if TYPE_CHECKING:
    from thawline.config.pictures import DataSet
    from thawline.config.sections import Config


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


def is_voted(data: "DataSet") -> bool:
    """Tell whether labels of a data set may be voted for: those of a target."""
    return any(getattr(data, name, None) is not None for name in ("votes", "labelling"))


def is_supervised(config: "Config") -> bool:
    """Tell whether trainings may be told anything but labels."""
    more = config.target.unlabelled is not None or is_voted(config.target)
    return config.supervise.doubt is not Doubt.none or more
