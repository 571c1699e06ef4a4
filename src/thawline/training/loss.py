"""What a training makes smaller: the mean loss of its pictures, by the cross-entropy or a robust loss."""

import torch
from torch.nn import functional

from thawline.training.robust import Loss

SMALLEST = 1e-12
"""Weight that pictures are divided by where none of a batch counts."""


def cross_entropy(
    logits: torch.Tensor,
    targets: torch.Tensor,
    class_weights: torch.Tensor | None = None,
    label_smoothing: float = 0.0,
) -> torch.Tensor:
    """Return the mean cross-entropy of (B, classes) logits; targets are (B,) labels, or (B, classes) shares
    whose sum is the picture's weight.

    The mean is over weights: the sum of the pictures' losses is divided by `weight_of` them, so that shares
    of 0 and 1 give what labels give (PyTorch would divide by their number). Smoothing spreads its part of a
    picture's weight over all classes.
    """
    if not targets.is_floating_point():
        return functional.cross_entropy(
            logits, targets, weight=class_weights, label_smoothing=label_smoothing
        )
    total = functional.cross_entropy(
        logits, _smoothed(targets, label_smoothing), weight=class_weights, reduction="sum"
    )
    return total / weight_of(targets, class_weights)


def mean_loss(
    loss: Loss,
    logits: torch.Tensor,
    targets: torch.Tensor,
    class_weights: torch.Tensor | None = None,
    label_smoothing: float = 0.0,
) -> torch.Tensor:
    """Return the mean of a `loss` in place of the cross-entropy; other arguments as for `cross_entropy`."""
    if loss.plain:
        return cross_entropy(logits, targets, class_weights, label_smoothing)
    if not targets.is_floating_point():
        targets = functional.one_hot(targets, logits.shape[1]).float()
    shares = _smoothed(targets, label_smoothing)
    weighted = shares if class_weights is None else shares * class_weights
    total = (weighted * loss.costs(logits.log_softmax(1), torch.exp)).sum()
    return total / weight_of(targets, class_weights)


def _smoothed(targets: torch.Tensor, label_smoothing: float) -> torch.Tensor:
    weights = targets.sum(1, keepdim=True)
    return (1 - label_smoothing) * targets + label_smoothing / targets.shape[1] * weights


def weight_of(targets: torch.Tensor, class_weights: torch.Tensor | None) -> torch.Tensor:
    """Return () float32: what `cross_entropy` divides the sum of the pictures' losses by, above 0."""
    if targets.is_floating_point():
        weighted = targets if class_weights is None else targets * class_weights
        return weighted.sum().clamp(min=SMALLEST)
    if class_weights is None:
        return torch.tensor(float(len(targets)), device=targets.device)
    return class_weights[targets].sum()
