"""Numbers of the rule and the prior, from 0 of 120 subsets (docs/strategy.md).

Written by: python benchmarks/strategies.py --fit
"""

from thawline.strategy.rule import Condition, Prior, Rule, Side

RULE = Rule(
    conditions=(Condition("error", 0.2), Condition("each", 15.0)),
    freeze=Side("probe", 0.0, 0.0, 0.0, 10),
    unfreeze=Side("half_frozen", 0.02, 0.01, 0.03, 10),
    each=(5, 40),
    classes=(2, 10),
)

PRIOR: Prior | None = None
"""None where no recipe was better than the usual ones by more than chance."""
