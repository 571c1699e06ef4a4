"""Pairs of pictures and their labels mixed, a whole batch at once."""

import torch

from thawline.config.sections import Mix


def mix(
    images: torch.Tensor, labels: torch.Tensor, classes: int, kind: Mix, alpha: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mix every picture with the one before it in the batch (the first with the last).

    mixup (Zhang et al. 2018): the weighted mean of both. cutmix (Yun et al. 2019): a rectangle of the
    picture replaced by the other's. One share per batch, drawn from Beta(alpha, alpha) with torch's
    global CPU generator. Neither input is changed. Give it shuffled batches, or the same neighbours
    mix in every epoch.

    images: `(b, channels, h, w)` float. labels: `(b,)` int64, or targets `(b, classes)` float32, weights and
    all. Returns images of the same shape and labels `(b, classes)` float32 that sum to 1 (targets: to the
    mean of both weights); with `Mix.none` both as they came.
    """
    if kind is Mix.none:
        return images, labels
    # torchvision takes as long to load as torch, and most recipes mix nothing
    from torchvision.transforms import v2

    mixer = (v2.MixUp if kind is Mix.mixup else v2.CutMix)(alpha=alpha, num_classes=classes)
    mixed, shares = mixer(images, labels)
    return mixed, shares
