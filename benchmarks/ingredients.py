"""What each thing that makes a step faster is worth alone: the figures of docs/architecture.md.

    python benchmarks/ingredients.py

Medians of alternating rounds in one process, as ratios: how many times as fast with it as without.
"""

import logging
import os
import time
from collections.abc import Callable
from statistics import median

import torch
from command import arguments
from contestants.task import frozen
from torch import nn
from torch.nn import functional

from thawline.machine import keep_freed_memory
from thawline.models.layout import in_layout, lay_out
from thawline.models.zoo import build
from thawline.training.features.compute import quick

ROUNDS = 5
log = logging.getLogger("ingredients")


def seconds(function: Callable[[], object], repeats: int) -> float:
    started = time.perf_counter()
    for _ in range(repeats):
        function()
    return (time.perf_counter() - started) / repeats


def ratio(without: Callable[[], object], with_it: Callable[[], object], repeats: int = 5) -> float:
    without()
    with_it()
    return median(seconds(without, repeats) / seconds(with_it, repeats) for _ in range(ROUNDS))


def fused_adamw() -> float:
    def optimizer(fused: bool | None) -> torch.optim.Optimizer:
        network = build("resnet18", 2, seed=0)
        for parameter in network.parameters():
            parameter.grad = torch.randn_like(parameter)
        return torch.optim.AdamW(network.parameters(), fused=fused)

    return ratio(optimizer(None).step, optimizer(True).step)


@torch.no_grad()
def forward_with_channels_last(size: int) -> float:
    plain, other = (build("resnet18", 2, seed=0).eval() for _ in range(2))
    pictures = torch.randn(64, 3, size, size)
    with in_layout(other, torch.channels_last):
        return ratio(lambda: plain(pictures), lambda: other(pictures))


@torch.no_grad()
def rearranged_prefix() -> float:
    prefix = frozen(build("resnet18", 2, seed=0), 9).prefix.eval()
    pictures = torch.randn(64, 3, 64, 64)
    last = pictures.contiguous(memory_format=torch.channels_last)
    fast = quick(prefix)
    return ratio(lambda: prefix(pictures), lambda: fast(last))


def training_step(
    size: int, architecture: str = "resnet18", way: Callable[[nn.Module], object] | None = None
) -> Callable[[], None]:
    """Of 32 pictures; `way` changes the network first."""
    network = build(architecture, 2, seed=0).train()
    if way is not None:
        way(network)
    pictures, labels = torch.randn(32, 3, size, size), torch.arange(32) % 2
    optimizer = torch.optim.AdamW(network.parameters(), fused=True)

    def step() -> None:
        optimizer.zero_grad()
        functional.cross_entropy(network(pictures), labels).backward()
        optimizer.step()

    return step


def _channels_last(network: nn.Module) -> None:
    lay_out(network, torch.channels_last)


def step_with_channels_last(size: int, architecture: str) -> float:
    return ratio(training_step(size, architecture), training_step(size, architecture, _channels_last), 2)


def kept_memory() -> float:
    """Of a whole training step. What is kept stays kept, so this does not alternate."""
    step = training_step(64)
    seconds(step, 3)
    without = median(seconds(step, 5) for _ in range(ROUNDS))
    keep_freed_memory()
    seconds(step, 3)
    return without / median(seconds(step, 5) for _ in range(ROUNDS))


def compiled() -> tuple[float, float]:
    """A training step, and the seconds before the first one."""

    plain, other = training_step(64), training_step(64, way=lambda network: network.compile())
    before = seconds(other, 1)
    return ratio(plain, other), before


def main() -> None:
    arguments(__doc__).parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1)))
    # first, in a process that has freed nothing large yet: the default depends on what came before
    log.info("freed memory kept, a training step at 64 px: %.2f", kept_memory())
    log.info("fused AdamW, a step: %.1f", fused_adamw())
    for architecture in ("resnet18", "mobilenet_v3_small", "efficientnet_b0"):
        for size in (64, 224):
            found = step_with_channels_last(size, architecture)
            log.info("channels last, a training step of %s at %d px: %.2f", architecture, size, found)
    for size in (64, 224):
        log.info("channels last, a forward pass at %d px: %.2f", size, forward_with_channels_last(size))
    log.info("rearranged prefix with channels last, a forward pass at 64 px: %.2f", rearranged_prefix())
    log.info("torch.compile, a training step at 64 px: %.2f, after %.0f s", *compiled())


if __name__ == "__main__":
    main()
