"""How sure a result is: intervals, paired differences, corrected selections, the recommended depth.

Only numpy and scipy are needed. What no interval here holds is how results vary with other training pictures.
"""
