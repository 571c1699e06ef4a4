"""Rewards that a fine-tuning may end with, and the fields of a recipe that are about them alone."""

from dataclasses import dataclass
from enum import Enum
from typing import Any

from thawline.config.checks import not_negative, positive, require


class Reward(Enum):
    """What is rewarded; the value of each member is its words, to follow “a reward phase for”."""

    none = "nothing"
    costs = "what mistakes cost"
    balanced_accuracy = "balanced accuracy"
    f_beta = "F-beta of a class"
    abstention = "accuracy where it answers"


FIELDS = {
    Reward.costs: ("reward_costs",),
    Reward.f_beta: ("reward_class", "reward_beta"),
    Reward.abstention: ("reward_abstention",),
}
"""Fields that mean something for one reward alone."""


@dataclass
class RewardFields:
    """Fields about the reward phase, which follows likelihood training (Pinto et al. 2023)."""

    reward: Reward = Reward.none
    """What the last epochs make larger in place of the likelihood: the expected reward of the label that the
    model would draw. none; costs (those of evaluate.costs); balanced_accuracy; f_beta of one class;
    abstention (accuracy where it answers)."""
    reward_share: float = 0.3
    """Share of the epochs that are the reward phase."""
    reward_kl: float = 0.1
    """What a nat of divergence from the model at the end of likelihood training takes from the reward, which
    is 1 at best; the smaller, the further it may go."""
    reward_class: str | None = None
    """The class that f_beta is about."""
    reward_beta: float = 1.0
    """How many times as much f_beta minds a picture of the class that is missed as one that is wrongly
    called so (2: F2)."""
    reward_abstention: float = 0.1
    """Share of the pictures, the least certain ones, that abstention leaves unanswered."""
    reward_costs: Any = None
    """What each decision (column) costs where a class (row) is the true one, in the order of the classes:
    null, for stage search reads them from evaluate.costs and writes them into recipe.json."""

    def __post_init__(self) -> None:
        positive(self, "reward_beta")
        not_negative(self, "reward_kl")
        for name in ("reward_share", "reward_abstention"):
            value = getattr(self, name)
            require(0 < value < 1, name, value, "between 0 and 1")
        named = self.reward is not Reward.f_beta or self.reward_class is not None
        allowed = "the name of a class, because reward is f_beta"
        require(named, "reward_class", self.reward_class, allowed)
        rows = self.reward_costs
        square = rows is None or (bool(rows) and all(len(row) == len(rows) for row in rows))
        require(square, "reward_costs", rows, "null, or as many rows as columns")

    def require_costs(self, table: str | None) -> None:
        """Raise `FieldError` where mistakes are to be rewarded by their costs and there is no `table` of
        these, or where they do not come from it."""
        costly, given = self.reward is Reward.costs, self.reward_costs
        allowed = "a CSV file of what each mistake costs, because finetune.reward is costs"
        require(not costly or table is not None, "evaluate.costs", table, allowed)
        require(given is None, "finetune.reward_costs", given, "null, because they come from evaluate.costs")
