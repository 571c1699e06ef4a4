"""Where the statistics of BatchNorm should come from after a short training: the table of docs/batch_norm.md.

    python benchmarks/batch_norm.py

Statistics do not change what a training in batches does, so each network is trained once, what every step
saw is kept, and all ways of estimating are tried on the same weights. A network is trained on the embedded
letters, then fine-tuned on the embedded digits and trained on them from scratch; counted are the digits, or
letters, that it did not learn from. Results are kept in benchmarks/results, network by network.
"""

import logging
import math
import os
from collections.abc import Iterator, Sequence
from statistics import fmean, stdev
from typing import NamedTuple

import numpy as np
import torch
from command import arguments
from kept import Cells
from pages import RESULTS, ROOT, fill, table
from scipy.special import stdtrit
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from thawline.artifacts import Artifacts
from thawline.config.choices import AugmentationName, Role
from thawline.config.composition import compose, to_config
from thawline.config.recipe.fields import Pretrain
from thawline.data.prepare import prepare
from thawline.data.store import Store, open_store
from thawline.data.transform import transform_of
from thawline.models.cuts import logits_of
from thawline.models.head import replace_head
from thawline.models.zoo import build
from thawline.training.batch_norm import estimate_statistics
from thawline.training.batches import batches, validate
from thawline.training.loss import cross_entropy
from thawline.training.optimization import build_optimizer, factor, groups

ARCHITECTURES = (
    *("mobilenet_v3_small", "mobilenet_v3_large", "mnasnet0_5", "efficientnet_b0", "mobilenet_v2"),
    *("shufflenet_v2_x0_5", "resnet18", "regnet_y_400mf", "densenet121", "googlenet", "vgg11_bn"),
    "efficientnet_b5",
)
"""One or two of every family of torchvision's that normalises by batches."""

WAYS = {
    "own": "each layer's own momentum",
    "window": "at least 1 / steps of an epoch",
    "epoch": "mean over the epoch",
    "steps": "mean over the epoch, or the layer's own window if shorter",
    "precise": "measured anew",
    "precise_256": "measured anew on 256",
}
Statistics = list[torch.Tensor]
log = logging.getLogger("batch_norm")


class Case(NamedTuple):
    """One training: `store` is what it learns from and validates on."""

    name: str
    store: Store
    batch_size: int
    epochs: int
    learning_rate: float
    augmentation: AugmentationName = AugmentationName.none


def layers(network: nn.Module) -> list[_BatchNorm]:
    return [each for each in network.modules() if isinstance(each, _BatchNorm)]


def read(network: nn.Module) -> Statistics:
    found = [each for layer in layers(network) for each in (layer.running_mean, layer.running_var)]
    return [each.clone() for each in found if each is not None]


@torch.no_grad()
def write(network: nn.Module, values: Statistics) -> None:
    it = iter(values)
    for layer in layers(network):
        for tensor in (layer.running_mean, layer.running_var):
            if tensor is not None:
                tensor.copy_(next(it))


def train(network: nn.Module, case: Case, seed: int) -> tuple[list[Statistics], int]:
    """Train `network`; return what each step saw, and how many steps an epoch has."""
    pictures = batches(case.store.part("train"), case.batch_size, seed=seed, augmentation=case.augmentation)
    settings = Pretrain(epochs=case.epochs, learning_rate=case.learning_rate, batch_size=case.batch_size)
    optimizer = build_optimizer(groups("all", network.parameters(), case.learning_rate, 0.01), settings)
    at = factor(settings.schedule, settings.warmup, case.epochs * len(pictures))
    for layer in layers(network):
        layer.momentum = 1.0
    network.train()
    torch.manual_seed(seed)
    seen: list[Statistics] = []
    for epoch in range(case.epochs):
        pictures.set_epoch(epoch)
        for images, labels, _ in pictures:
            for group in optimizer.param_groups:
                group["lr"] = case.learning_rate * at(len(seen))
            loss = cross_entropy(logits_of(network(images))[0], labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            seen.append(read(network))
    return seen, len(pictures)


def averaged(seen: Sequence[Statistics], start: Statistics, momenta: Sequence[Sequence[float]]) -> Statistics:
    """Return the running statistics after all steps; `momenta` holds each step's, one per tensor."""
    now = [each.clone() for each in start]
    for found, of_step in zip(seen, momenta, strict=True):
        now = [old.lerp(new, share) for old, new, share in zip(now, found, of_step, strict=True)]
    return now


def plain(store: Store, batch: int = 256) -> Iterator[torch.Tensor]:
    count = len(store)
    return (images for images, _, _ in batches(store, count).in_parts(-(-count // batch)))


def outcome(
    network: nn.Module, case: Case, seed: int, own: list[float], starts: Statistics
) -> tuple[dict[str, float], Statistics]:
    """Return the share of right answers by each way, and the statistics by each layer's own momentum."""
    seen, per_epoch = train(network, case, seed)
    count = [index % per_epoch for index in range(len(seen))]
    found = {
        "own": averaged(seen, starts, [own for _ in seen]),
        "window": averaged(seen, starts, [[max(each, 1 / per_epoch) for each in own] for _ in seen]),
        "epoch": averaged(seen, starts, [[1 / (at + 1) for _ in own] for at in count]),
        "steps": averaged(seen, starts, [[max(each, 1 / (at + 1)) for each in own] for at in count]),
    }
    learnt = case.store.part("train")
    for name, part in (("precise", plain(learnt)), ("precise_256", first(learnt))):
        moving = {path for path, each in network.named_modules() if isinstance(each, _BatchNorm)}
        estimate_statistics(network, moving, part)
        found[name] = read(network)
    shares = {}
    for name, values in found.items():
        write(network, values)
        shares[name] = validate(network, batches(case.store.part("val"), 256), torch.device("cpu"))[1]
        shares[f"{name}, learnt"] = validate(network, batches(learnt, 256), torch.device("cpu"))[1]
    return shares, found["own"]


def first(store: Store, count: int = 256) -> Iterator[torch.Tensor]:
    yield next(iter(batches(store, count, seed=0)))[0]


def stores() -> tuple[Store, Store, Store]:
    """Return letters, digits and few digits, each with pictures to learn from and to validate on."""
    artifacts = Artifacts.under(ROOT, "batch_norm")
    for role in (Role.source, Role.target):
        if not (artifacts.outputs / "prepare" / role.name).exists():
            asked = [f"role={role.name}", "target.train_per_class=20", "target.val_per_class=40"]
            config = to_config(compose(ROOT, asked))
            prepare(config, lambda each: transform_of(each.input), artifacts)
    letters, digits = (open_store(artifacts.data(role.name)) for role in (Role.source, Role.target))
    learnt, asked_about = len(letters.part("train")), len(letters.part("val"))
    letters = letters.divided(np.arange(0, learnt, 4), np.arange(learnt, learnt + asked_about))
    learnt = len(digits.part("train"))
    by_class = np.argsort(digits.part("train").labels, kind="stable").reshape(len(digits.classes), -1)
    few = digits.divided(by_class[:, :3].ravel(), np.arange(learnt, len(digits)))
    return letters, digits, few


def measure(architecture: str, seed: int) -> dict[str, dict[str, float]]:
    """Return the outcome of each training of one network."""
    letters, digits, few = stores()
    source = build(architecture, len(letters.classes), seed=seed)
    own = [float(layer.momentum or 0) for layer in layers(source) for _ in range(2)]
    fresh = read(source)
    case = Case("letters, 2 epochs of 62 steps", letters, 64, 2, 1e-3)
    shares, starts = outcome(source, case, seed, own, fresh)
    found = {case.name: shares}
    augmented = AugmentationName.standard
    for case in (
        Case("fine-tuned, 30 steps of 30 digits", few, 32, 30, 3e-4),
        Case("fine-tuned, 5 epochs of 7 steps", digits, 32, 5, 3e-4),
        Case("the same, augmented", digits, 32, 5, 3e-4, augmented),
    ):
        network, _ = replace_head(source, len(digits.classes), seed)
        found[case.name] = outcome(network, case, seed, own, starts)[0]
    case = Case("from scratch, 10 epochs of 7 steps", digits, 32, 10, 1e-3)
    network = build(architecture, len(digits.classes), seed=seed)
    found[case.name] = outcome(network, case, seed, own, fresh)[0]
    return found


def page(results: dict[str, dict[str, dict[str, float]]]) -> str:
    """Return each training of each network, the mean of all, and what a pass over the pictures gains, in
    Markdown; numbers are means over the seeds."""
    lines, gains, every = [], [], []
    for network in dict.fromkeys(name.rpartition(" ")[0] for name in results):
        runs = [each for name, each in results.items() if name.rpartition(" ")[0] == network]
        cases = {
            case: {way: fmean(run[case][way] for run in runs) for way in runs[0][case]} for case in runs[0]
        }
        lines += [_row(network, case, mean) for case, mean in cases.items()]
        every += cases.values()
        gains.append(fmean(mean["precise"] - mean["steps"] for mean in cases.values()))
    lines.append(_row("**mean**", "", {way: fmean(each[way] for each in every) for way in every[0]}))
    half = stdtrit(len(gains) - 1, 0.975) * stdev(gains) / math.sqrt(len(gains))
    low, high = (100 * (fmean(gains) + sign * half) for sign in (-1, 1))
    return table(["network", "training", "learnt", *WAYS.values()], lines, "|---") + (
        f"\n\nMeasured anew minus the momentum that follows the steps, over {len(gains)} networks: "
        f"{100 * fmean(gains):+.1f} points (95 % interval {low:+.1f} to {high:+.1f})."
    )


def _row(network: str, case: str, shares: dict[str, float]) -> list[str]:
    return [network, case, *(f"{shares[way]:.3f}" for way in ("precise, learnt", *WAYS))]


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--architectures", nargs="+", default=ARCHITECTURES, metavar="NAME")
    chosen = parser.parse_args()
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    results = Cells(RESULTS / "batch_norm.json")
    for name in chosen.architectures:
        for seed in range(chosen.seeds):
            results.measured(f"{name} {seed}", measure, name, seed)
            log.info("%s %d", name, seed)
    fill("batch_norm.md", {"table": page(results)})


if __name__ == "__main__":
    main()
