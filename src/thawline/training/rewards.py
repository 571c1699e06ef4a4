"""What a reward phase makes larger: the expected reward of the label that the model would draw.

With K classes the expectation is a sum, so its gradient is exact and nothing is drawn (Pinto et al. 2023,
Tuning computer vision models with task rewards, draw labels because theirs are boxes and captions). Rewards
are functions of probabilities (B, K) and shares (B, K): what a picture's label is, times the picture's
weight. At best each is 1.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from thawline.config.errors import UserError, closest
from thawline.config.recipe.rewards import Reward
from thawline.config.sections import Config, Finetune
from thawline.data.costs import configured_costs
from thawline.data.store import Store
from thawline.models.cuts import logits_of
from thawline.training.loss import SMALLEST
from thawline.training.parameter_groups import balanced_weights
from thawline.training.processes import place

NO_MEANS = (Reward.f_beta, Reward.abstention)
"""Rewards of a batch as a whole."""

Rewarding = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""Returns the expected reward () of drawing from probabilities (B, K) where shares (B, K) are the truth."""


@dataclass(frozen=True, eq=False)
class Objective:
    """The loss of a reward phase: 1 minus the expected reward, plus `kl` times the mean divergence (in nats)
    of the model's answers from those of `reference`, the model as it was when the phase began."""

    rewarding: Rewarding
    reference: nn.Module
    kl: float

    def __call__(self, logits: torch.Tensor, before: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return the loss () of logits (B, K), of which the reference says `before` (B, K), where targets are
        labels (B,) or shares (B, K)."""
        shares = targets if targets.is_floating_point() else functional.one_hot(targets, logits.shape[1])
        shares = shares.to(torch.float32)
        now, then, weights = logits.float().log_softmax(1), before.float().log_softmax(1), shares.sum(1)
        divergence = ((now.exp() * (now - then)).sum(1) * weights).sum() / weights.sum().clamp(min=SMALLEST)
        return 1 - self.rewarding(now.exp(), shares) + self.kl * divergence

    def asked(self, ask: Callable[[nn.Module], object], device: torch.device) -> torch.Tensor:
        """Return what the reference says where `ask` asks it on `device`; nothing learns from that."""
        with torch.no_grad():
            return logits_of(ask(self.reference.to(device)))[0]


def objective_of(recipe: Finetune, held: nn.Module, train: Store) -> Objective:
    """Return what the reward phase of `recipe` makes smaller, on the pictures of `train`; `held` is the
    network as it is when the phase begins, and is copied. Raises `UserError` as `require_class` does."""
    reference = copy.deepcopy(held).eval().requires_grad_(False)
    return Objective(rewarding_of(recipe, train.supervision, train.classes), reference, recipe.reward_kl)


def rewarding_of(recipe: Finetune, supervision: np.ndarray, classes: Sequence[str]) -> Rewarding:
    """Return the reward that `recipe` is for; supervision: labels (N,) of the training pictures, or targets
    (N, K)."""
    require_class(recipe, classes)
    if recipe.reward is Reward.costs:
        return partial(expected_gain, gains=by_cost(recipe.reward_costs))
    if recipe.reward is Reward.balanced_accuracy:
        return partial(expected_gain, gains=torch.diag(balanced_weights(supervision, len(classes))))
    if recipe.reward is Reward.f_beta:
        at = classes.index(str(recipe.reward_class))
        return partial(expected_f_beta, at=at, beta=recipe.reward_beta)
    return partial(expected_where_answered, abstention=recipe.reward_abstention)


def require_whole_batches(recipe: Finetune, parts: int) -> None:
    """Raise `UserError` where the reward of `recipe` is no mean over pictures, and batches are computed in
    `parts` or by several processes: sums over these would be another reward."""
    processes = place()[1]
    if recipe.reward in NO_MEANS and (parts > 1 or processes > 1):
        raise UserError(
            f"finetune.reward = {recipe.reward.name} is no mean over pictures: each batch must be computed "
            f"as a whole, not in {parts} parts by {processes} processes.\n  lower finetune.batch_size until "
            "it fits into memory, or into trainer.memory_gib; set trainer.devices=1 and trainer.nodes=1"
        )


def require_class(recipe: Finetune, classes: Sequence[str]) -> None:
    """Raise `UserError` where the reward of `recipe` is about a class that is none of `classes`."""
    if recipe.reward is Reward.f_beta and recipe.reward_class not in classes:
        raise UserError(
            f"finetune.reward_class = {recipe.reward_class}: no class is called so; nearest: "
            f"{closest(str(recipe.reward_class), classes)}.\n  all of them: {', '.join(classes)}"
        )


def with_costs(recipe: Finetune, config: Config, classes: Sequence[str]) -> Finetune:
    """Return `recipe` with what mistakes cost where it is rewarded by that: the table that `evaluate.costs`
    names, in the order of `classes`. Raises `UserError` as `read_costs` and `require_class` do."""
    require_class(recipe, classes)
    costs = configured_costs(config.evaluate.costs, classes) if recipe.reward is Reward.costs else None
    return recipe if costs is None else replace(recipe, reward_costs=[list(row) for row in costs])


def by_cost(costs: Sequence[Sequence[float]]) -> torch.Tensor:
    """Return (K, K) gains of a decision (column) where a class (row) is true: 1 where it costs nothing, 0
    where it costs the most that any does."""
    table = torch.tensor(costs, dtype=torch.float32)
    largest = table.max()
    return 1 - table / largest if largest > 0 else torch.ones_like(table)


def expected_gain(probabilities: torch.Tensor, shares: torch.Tensor, *, gains: torch.Tensor) -> torch.Tensor:
    """Return the mean gain, a mean over pictures: `gains` (K, K) of drawing a class (column) where another
    (row) is true.

    Of balanced accuracy a batch has too few pictures of a class, or none: its counts are those of all
    training pictures, so that the mean over an epoch's batches is their expected balanced accuracy, exactly.
    """
    drawn = probabilities @ gains.to(probabilities.device).T
    return (shares * drawn).sum() / shares.sum().clamp(min=SMALLEST)


def expected_f_beta(
    probabilities: torch.Tensor, shares: torch.Tensor, *, at: int, beta: float
) -> torch.Tensor:
    """Return the F-beta of the class `at` that is expected of the labels drawn for this batch, of which the
    pictures' likeliest ones are the truth; 0, without a gradient, where no picture is of the class.

    F-beta is no mean over pictures. How many of the pictures of the class are found and how many others are
    called so are sums of independent draws, whose distributions are computed; so the expectation is exact,
    and its derivative by the probability of a picture is that picture's leave-one-out contribution: the
    F-beta expected with it called so, minus that with it not called so, whatever is drawn for the others.
    What is made larger is the mean over batches, not the F-beta of all pictures: the larger the batch, the
    nearer they are.
    """
    counted = shares.sum(1) > 0
    truly = shares.argmax(1) == at
    called = probabilities[:, at]
    found, wrongly = counts_of(called[counted & truly]), counts_of(called[counted & ~truly])
    of_class = len(found) - 1
    if of_class == 0:
        return called.sum() * 0
    hits, alarms = (torch.arange(len(each)).to(each) for each in (found, wrongly))
    hits = hits[:, None]
    score = (1 + beta**2) * hits / (beta**2 * of_class + hits + alarms)
    return found @ score @ wrongly


def counts_of(probabilities: torch.Tensor) -> torch.Tensor:
    """Return how probable it is that 0, 1, …, n of n independent events happen, (n + 1,) (Poisson
    binomial)."""
    found = probabilities.new_ones(1)
    for each in probabilities:
        found = functional.pad(found * (1 - each), (0, 1)) + functional.pad(found * each, (1, 0))
    return found


def expected_where_answered(
    probabilities: torch.Tensor, shares: torch.Tensor, *, abstention: float
) -> torch.Tensor:
    """Return the mean probability of being right on the pictures of this batch that are answered: all but the
    share `abstention` of them with the least certain likeliest class, at least one.

    It is no mean over pictures, because certainty is compared with the others'. Which are answered is taken
    as it is: it changes in steps, so between these the gradient is exact. A picture that is answered and
    wrong loses certainty, and so comes to be left out.
    """
    counted = shares.sum(1) > 0
    probabilities, shares = probabilities[counted], shares[counted]
    answered = min(len(shares), max(1, round((1 - abstention) * len(shares))))
    kept = probabilities.detach().max(1).values.topk(answered).indices
    return (shares[kept] * probabilities[kept]).sum() / shares[kept].sum().clamp(min=SMALLEST)
