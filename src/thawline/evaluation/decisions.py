"""Decisions for a reward, with and without training for it, and what they come to. No torch.

Likelihood training with the best decision needs no other training: probabilities are calibrated on held-out
pictures, and of the classes that one is decided for from which most is expected. Whatever else is tried has
to be better than that.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from thawline.config.recipe.rewards import Reward
from thawline.config.sections import Finetune
from thawline.statistics.intervals import loss_interval, named, share_interval
from thawline.statistics.paired import difference_interval
from thawline.statistics.temperature import temperature_of

ARMS = ("likelihood", "likelihood_decided", "reward", "reward_decided")
"""The model before and after the reward phase, each with the likeliest class and with the best decision."""

DECIDED = "likelihood_decided"
"""What the others are compared with."""


@dataclass(frozen=True, eq=False)
class Asked:
    """What one model says: probabilities of the N test pictures, `test` (N, K), and of M pictures held out of
    its training, `held` (M, K), whose classes are `labels` (M,); M may be 0."""

    test: np.ndarray
    held: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True, eq=False)
class Answers:
    """What is decided of N pictures, `decisions` (N,), and how sure that is, `certainty` (N,)."""

    decisions: np.ndarray
    certainty: np.ndarray


def arms(
    recipe: Finetune, counts: np.ndarray, classes: Sequence[str], before: Asked, after: Asked
) -> dict[str, Answers]:
    """Return what is decided in each of `ARMS`, of one seed's models before and after the reward phase.

    counts: (K,) training pictures of each class.
    """
    found = {}
    for name, model in (("likelihood", before), ("reward", after)):
        found[name] = likeliest(model.test)
        found[f"{name}_decided"] = best_decision(recipe, counts, classes, model)
    return found


def likeliest(probabilities: np.ndarray) -> Answers:
    """Decide for the likeliest class."""
    return Answers(probabilities.argmax(1), probabilities.max(1))


def best_decision(recipe: Finetune, counts: np.ndarray, classes: Sequence[str], model: Asked) -> Answers:
    """Decide so that most of the reward of `recipe` is expected of calibrated probabilities (without pictures
    held out: of those that the model gives).

    For balanced accuracy that is the class whose probability is the largest multiple of its share of the
    training pictures; for F-beta the class itself from the probability on at which the F-beta that is
    expected of the held-out pictures is largest.
    """
    temperature = temperature_of(np.log(model.held + 1e-12), model.labels) if len(model.held) else 1.0
    test, held = (_at(each, temperature) for each in (model.test, model.held))
    plain = likeliest(test)
    if recipe.reward is Reward.costs:
        decisions = (test @ np.array(recipe.reward_costs)).argmin(1)
    elif recipe.reward is Reward.balanced_accuracy:
        decisions = (test / np.maximum(counts, 1)).argmax(1)
    elif recipe.reward is Reward.f_beta and len(held):
        at = classes.index(str(recipe.reward_class))
        others = test.copy()
        others[:, at] = -1
        threshold = best_threshold(held[:, at], recipe.reward_beta)
        decisions = np.where(test[:, at] >= threshold, at, others.argmax(1))
    else:
        return plain
    return Answers(decisions, plain.certainty)


def _at(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    found = probabilities ** (1 / temperature)
    return np.asarray(found / found.sum(1, keepdims=True))


def best_threshold(probabilities: np.ndarray, beta: float) -> float:
    """Return the probability of a class, one of `probabilities` (M,), from which on calling pictures so makes
    their expected F-beta largest."""
    ordered = np.sort(probabilities)[::-1]
    called = np.arange(1, len(ordered) + 1)
    expected = (1 + beta**2) * ordered.cumsum() / (beta**2 * ordered.sum() + called)
    return float(ordered[expected.argmax()])


def compared(
    recipe: Finetune,
    labels: np.ndarray,
    classes: Sequence[str],
    seeds: Sequence[Mapping[str, Answers]],
    clusters: np.ndarray,
    confidence: float,
) -> dict[str, Any]:
    """Return what each arm comes to in the mean of `seeds`, with intervals, and the paired `differences` of
    the others from likelihood training with the best decision; and which `reward` that is of.

    Args:
        labels: (N,) of the test pictures.
        clusters: (N,) numbers 0..G-1, equal for pictures that are not independent.
        confidence: coverage of every interval.
    """
    values = {name: np.stack([added(recipe, labels, classes, each[name]) for each in seeds]) for name in ARMS}
    limit = float(np.max(recipe.reward_costs)) if recipe.reward is Reward.costs else 1.0
    found: dict[str, Any] = {"reward": recipe.reward.name, "arms": {}, "differences": {}}
    for name, each in values.items():
        if recipe.reward is Reward.costs:
            guess = max(float(np.mean(recipe.reward_costs, axis=0).min()), 1e-12)
            ends = loss_interval(each, clusters, guess, confidence)
        else:
            right = np.stack([seed[name].decisions == labels for seed in seeds]).astype(np.float64)
            ends = share_interval(each, right, clusters, confidence)
        found["arms"][name] = named(each.mean(), ends)
        if name != DECIDED:
            ours, theirs = each, values[DECIDED]
            ends = difference_interval(ours, theirs, clusters, confidence, scale=limit, limit=limit)
            found["differences"][name] = named(ours.mean() - theirs.mean(), ends)
    return found


def added(recipe: Finetune, labels: np.ndarray, classes: Sequence[str], answers: Answers) -> np.ndarray:
    """Return (N,) what each picture adds to what the reward of `recipe` is about, so that their mean is that,
    and varies as it does (the infinitesimal jackknife, as `metrics.linearised`)."""
    decisions, right = answers.decisions, (answers.decisions == labels).astype(np.float64)
    if recipe.reward is Reward.costs:
        return np.asarray(np.array(recipe.reward_costs)[labels, decisions])
    if recipe.reward is Reward.f_beta:
        at, square = classes.index(str(recipe.reward_class)), recipe.reward_beta**2
        truly, called = labels == at, decisions == at
        bottom = square * truly.sum() + called.sum()
        score = (1 + square) * (truly & called).sum() / max(bottom, 1)
        terms = (1 + square) * (truly & called) - score * (square * truly + called)
        return np.asarray(score + len(labels) * terms / max(bottom, 1))
    if recipe.reward is Reward.abstention:
        kept = np.zeros(len(labels), bool)
        answered = max(1, round((1 - recipe.reward_abstention) * len(labels)))
        kept[np.argsort(-answers.certainty, kind="stable")[:answered]] = True
        return np.asarray(right[kept].mean() + kept * (right - right[kept].mean()) * len(labels) / answered)
    support = np.bincount(labels, minlength=len(classes))
    recall = np.bincount(labels, right, minlength=len(classes)) / np.maximum(support, 1)
    present = (support > 0).sum()
    own = len(labels) / (present * support[labels])
    return np.asarray(recall.sum() / present + own * (right - recall[labels]))
