"""The section `supervise`: what each training picture's target is."""

from dataclasses import dataclass

from thawline.config.choices import Doubt


@dataclass
class Supervise:
    """What each training picture's target is, where its label is not all there is to say."""

    doubt: Doubt = Doubt.none
    """weigh: pictures count less the more their label is doubted by heads that they did not teach (confident
    learning, Northcutt et al. 2021); none: all count alike."""
