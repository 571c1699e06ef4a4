"""Numbers of the rule and the prior, from 3 of 120 subsets (docs/strategy.md).

Written by: python benchmarks/strategies.py --fit
"""

from thawline.strategy.rule import Prior, Rule

RULE: Rule | None = None
"""None where too little is measured."""

PRIOR: Prior | None = None
"""None where no recipe was better than the usual ones by more than chance."""
