"""How sure a result is: intervals, paired differences, corrected selections, the recommended depth.

Only numpy and scipy are needed. What no interval here holds is how results vary with other training pictures.
`accuracy_interval` is for everybody who has 0 or 1 for each picture, and is imported from here.
"""

from thawline.statistics.intervals import accuracy_interval

__all__ = ["accuracy_interval"]
