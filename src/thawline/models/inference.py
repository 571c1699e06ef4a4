"""The one loop that asks a network about pictures: for validation, for the test split and for serving."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from thawline.config.errors import UserError
from thawline.data.batches import NOT_COUNTED, Batches
from thawline.models.answer import Answer
from thawline.models.cuts import logits_of
from thawline.models.layout import in_cache, in_layout, laid_out, layout_of


def logits(
    network: nn.Module,
    batches: Batches,
    device: torch.device | str,
    *,
    half: bool = False,
    from_features: bool = False,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return what `network` says of each picture in evaluation mode, in the order of `batches`.

    The network is moved to `device` and stays there; its mode is as before.

    Args:
        half: compute in bfloat16 where that is safe (autocast).
        from_features: `batches` hold what the prefix of `network`, a `PartlyFrozen`, makes of the pictures.

    Returns:
        (N, classes) float32 and the labels, (N,) int64, both on `device`; of a process's share of the
        batches, only pictures that count.
    """
    asked = network.get_submodule("suffix") if from_features else network
    found, labels = [], []
    for output, of_batch in _outputs(network, asked, batches, device, half):
        found.append(logits_of(output)[0].float())
        labels.append(of_batch)
    if not found:
        return torch.empty(0, 1, device=device), torch.empty(0, dtype=torch.int64, device=device)
    return torch.cat(found), torch.cat(labels)


def _outputs(
    network: nn.Module,
    asked: Callable[[torch.Tensor], Any],
    batches: Batches,
    device: torch.device | str,
    half: bool = False,
) -> Iterator[tuple[Any, torch.Tensor]]:
    """Yield what `asked`, of `network`, makes of the pictures of each batch that counts, part after part, and
    their labels."""
    was_training, layout = network.training, layout_of(network)
    network.to(device).eval()
    try:
        with in_layout(network, layout), torch.inference_mode():
            for images, of_batch, indices in batches.on(torch.device(device)):
                parts = in_cache(images)
                for part, labels in zip(parts, of_batch.split([len(each) for each in parts]), strict=True):
                    with torch.autocast(images.device.type, torch.bfloat16, enabled=half):
                        output = asked(laid_out(part, layout))
                    if indices[0] != NOT_COUNTED:
                        yield output, labels
    finally:
        network.train(was_training)


@dataclass(frozen=True, eq=False)
class Answers:
    """What was answered about N pictures, in order.

    `probabilities` (N, classes) float64 are calibrated and those by `logits` (N, classes) float32 are not;
    `decisions` (N,) int64; `scores` (N,) float64, from 0 to 2, say how unlike the training pictures they are.
    """

    logits: np.ndarray
    probabilities: np.ndarray
    decisions: np.ndarray
    scores: np.ndarray


def answers(answer: Answer, batches: Batches, device: torch.device | str = "cpu") -> Answers:
    """Return what `answer` says of each picture, computed in float32.

    Raises `UserError` where a probability is not finite.
    """
    found = [output for output, _ in _outputs(answer, answer.with_logits, batches, device)]
    logits, probabilities, *rest = (torch.cat(part).cpu().numpy() for part in zip(*found, strict=True))
    _require_finite(probabilities)
    return Answers(logits, probabilities.astype(np.float64), rest[0], rest[1].astype(np.float64))


def at_last_cut(
    answer: Answer, batches: Batches, device: torch.device | str
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return for each picture, in order and on the CPU, the logits (N, classes) and the features (N, ...)
    that the head of `answer` makes them of, both float32."""

    def asked(pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        features = answer.prefix(pictures)
        return logits_of(answer.suffix(features))[0].float().cpu(), features.float().cpu()

    found = [output for output, _ in _outputs(answer, asked, batches, device)]
    logits, features = (torch.cat(part) for part in zip(*found, strict=True))
    return logits, features


def worth(found: torch.Tensor, labels: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Return for each picture, given its `logits` (N, classes) and its label, 1.0 where they are right and
    0.0 where they are wrong, (N,) float64, and the cross-entropy, (N,) float64 in nats."""
    correct, losses = found.argmax(1) == labels, functional.cross_entropy(found, labels, reduction="none")
    return correct.cpu().double().numpy(), losses.cpu().double().numpy()


def probabilities(network: nn.Module, batches: Batches, device: torch.device | str) -> np.ndarray:
    """Return the probability of each class for each picture: (N, classes) float64, rows summing to 1.

    It is computed in float32, but for the softmax, which is in double precision. Raises `UserError` where an
    output is not finite.
    """
    return as_probabilities(logits(network, batches, device)[0].cpu())


def as_probabilities(logits: torch.Tensor) -> np.ndarray:
    """Return what `probabilities` makes of `logits` (N, classes), and raise as it does."""
    found = logits.double().softmax(1).numpy()
    _require_finite(found)
    return found


def _require_finite(rows: np.ndarray) -> None:
    broken = int((~np.isfinite(rows)).any(1).sum())
    if broken:
        raise UserError(
            f"the network's output is not a number for {broken} of {len(rows)} pictures: "
            "its training diverged.\n  Train with lower learning rates."
        )
