"""The prior that was measured, from 30 of 120 subsets (docs/strategy.md).

Written by: python benchmarks/strategies.py --fit
"""

from thawline.strategy.rule import Prior

PRIOR: Prior | None = None
"""None where no recipe beat the usual ones by more than chance."""
