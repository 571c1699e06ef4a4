"""Parameter groups of a recipe: who learns at which rate, with how much weight decay."""

import numpy as np
import torch
from torch import nn

from thawline.config.sections import Finetune, Start
from thawline.models.cuts import units
from thawline.models.head import head_parameters
from thawline.training.optimization import Group, groups


def learning_groups(network: nn.Module, recipe: Finetune) -> tuple[Group, ...]:
    """Return parameter groups of everything that is not frozen.

    What starts random (the heads; everything when `start` is random) learns at the head's rate, the rest
    at the body's: unit i of n at body_lr * layer_decay ** (n - 1 - i), weights that belong to no unit at
    body_lr. With `l2_sp`, what was copied from the source model does not decay: it is pulled instead.
    """
    assert recipe.head_lr is not None  # Finetune resolves it
    head = head_parameters(network)
    fresh: list[nn.Parameter] = []
    copied: dict[str, nn.Parameter] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            if recipe.start is Start.random or name in head:
                fresh.append(parameter)
            else:
                copied[name] = parameter
    found = groups("head", fresh, recipe.head_lr, recipe.weight_decay, decay_all=recipe.decay_all)
    if copied:
        found += _body_groups(network, copied, recipe)
    return found


def _body_groups(network: nn.Module, copied: dict[str, nn.Parameter], recipe: Finetune) -> tuple[Group, ...]:
    assert recipe.body_lr is not None, "a body that is not frozen needs body_lr"
    kind, weight_decay = (".pulled", 0.0) if recipe.l2_sp else ("", recipe.weight_decay)
    found: tuple[Group, ...] = ()
    for label, learning_rate, names in _by_rate(network, copied, recipe.body_lr, recipe.layer_decay):
        parameters = [copied[name] for name in names]
        found += groups(label + kind, parameters, learning_rate, weight_decay, decay_all=recipe.decay_all)
    return found


def _by_rate(
    network: nn.Module, copied: dict[str, nn.Parameter], body_lr: float, layer_decay: float
) -> list[tuple[str, float, list[str]]]:
    """Return label, learning rate and names of what shares it; one label only without layer decay."""
    if layer_decay == 1:
        return [("body", body_lr, list(copied))]
    found = units(network)
    unit_of = {id(network.get_parameter(name)): unit for unit in found for name in unit.parameters}
    names: dict[str, list[str]] = {name: [] for name in ("", *(unit.name for unit in found))}
    for name, parameter in copied.items():
        unit = unit_of.get(id(parameter))
        names["" if unit is None else unit.name].append(name)
    rates = {unit.name: body_lr * layer_decay ** (len(found) - 1 - unit.index) for unit in found}
    return [(f"body.{unit.name}", rates[unit.name], names[unit.name]) for unit in found] + [
        ("body", body_lr, names[""])
    ]


def balanced_weights(supervision: np.ndarray, classes: int) -> torch.Tensor:
    """Return (classes,) float32: the inverse of each class's share of `supervision`, all 1 for equal shares
    (King & Zeng 2001; scikit-learn's `balanced`).

    supervision: labels (N,), or targets (N, classes), whose sums over the pictures are the counts.
    """
    targets = supervision.ndim == 2
    counts = supervision.sum(0, dtype=float) if targets else np.bincount(supervision, minlength=classes)
    return torch.tensor(counts.sum() / (classes * np.maximum(counts, 1)), dtype=torch.float32)
