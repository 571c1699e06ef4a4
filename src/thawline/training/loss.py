"""What a training makes smaller: the cross-entropy, of one network or of several."""

import torch
from torch.nn import functional


def cross_entropy(
    logits: torch.Tensor,
    targets: torch.Tensor,
    class_weights: torch.Tensor | None = None,
    label_smoothing: float = 0.0,
) -> torch.Tensor:
    """Return the mean cross-entropy of (B, classes) logits; targets are (B,) labels or (B, classes) shares.

    Shares of 0 and 1 give what labels give: PyTorch divides a weighted loss by the sum of the pictures'
    weights for labels, but by their number for shares, which is made up for here.
    """
    shares = targets.is_floating_point()
    if class_weights is None or not shares:
        return functional.cross_entropy(
            logits, targets, weight=class_weights, label_smoothing=label_smoothing
        )
    total = functional.cross_entropy(
        logits, targets, weight=class_weights, label_smoothing=label_smoothing, reduction="sum"
    )
    return total / weight_of(targets, class_weights)


def weight_of(targets: torch.Tensor, class_weights: torch.Tensor | None) -> torch.Tensor:
    """Return () float32: what `cross_entropy` divides the sum of the pictures' losses by."""
    if class_weights is None:
        return torch.tensor(float(len(targets)), device=targets.device)
    if targets.is_floating_point():
        return (targets @ class_weights).sum()
    return class_weights[targets].sum()
