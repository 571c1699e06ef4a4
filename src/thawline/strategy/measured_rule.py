"""The rule that was measured, from 30 of 120 subsets (docs/strategy.md).

Written by: python benchmarks/strategies.py --fit
"""

from thawline.strategy.rule import Rule, Side

RULE: Rule | None = Rule(
    conditions=(),
    freeze=Side(strategy="probe", gain=0.0, low=0.0, high=0.0, subsets=30),
    unfreeze=Side(strategy="probe", gain=0.0, low=0.0, high=0.0, subsets=30),
    each=(5, 40),
    classes=(2, 10),
)
"""None where too little is measured."""
