"""The prior that was measured, from 0 of 120 subsets (docs/strategy.md).

Written by: python benchmarks/strategies.py --fit
"""

from thawline.strategy.rule import Prior

PRIOR: Prior | None = None
"""None where too little is measured, or no recipe beats the usual one by more than chance."""
