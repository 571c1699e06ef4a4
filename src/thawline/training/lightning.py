"""Lightning, without what it would load for metrics that nothing here computes.

Lightning imports torchmetrics as a whole, and that imports whatever it finds for its metrics of text, sound
and pictures: transformers, matplotlib and others, which took longer than Lightning itself, in every process
that trains. While it is imported they count as not installed.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from lightning_utilities.core import imports
from lightning_utilities.core.imports import RequirementCache

UNUSED = (
    "gammatone",
    "librosa",
    "matplotlib",
    "nltk",
    "onnxruntime",
    "pesq",
    "piq",
    "pycocotools",
    "pystoi",
    "regex",
    "scienceplots",
    "scipy",
    "torch_fidelity",
    "torchaudio",
    "transformers",
)

NVML_CHECK = "PYTORCH_NVML_BASED_CUDA_CHECK"
"""Has PyTorch ask NVIDIA's management library (NVML) whether there is a GPU, in place of CUDA."""


@contextmanager
def _not_installed(names: tuple[str, ...]) -> Iterator[None]:
    check, package = RequirementCache._check_available, imports.package_available

    def checked(self: RequirementCache) -> None:
        wanted = self.requirement or self.module or ""
        if wanted.startswith(names):
            self.available, self.message = False, f"{wanted} is not used here"
        check(self)  # which asks nothing once it is known

    def installed(name: str) -> bool:
        return not name.startswith(names) and package(name)

    with (
        patch.object(RequirementCache, "_check_available", checked),
        patch.object(imports, "package_available", installed),
    ):
        yield


@contextmanager
def _nvml_check_restored() -> Iterator[None]:
    """Lightning sets `NVML_CHECK`. Where there is no GPU, PyTorch then looks for NVML on the disk whenever it
    asks, and each step of AdamW asks (what that costs: docs/architecture.md). With a GPU it stays, though
    there each step asks, too, until CUDA is used: asking CUDA would forbid forks."""
    before = os.environ.get(NVML_CHECK)
    yield
    if torch.cuda.is_available():
        return
    os.environ.pop(NVML_CHECK, None)
    if before is not None:
        os.environ[NVML_CHECK] = before


with _not_installed(UNUSED), _nvml_check_restored():
    import pytorch_lightning as pl
    from pytorch_lightning.callbacks import Callback, EarlyStopping, LambdaCallback, ModelCheckpoint
    from pytorch_lightning.strategies import DDPStrategy
    from pytorch_lightning.utilities.exceptions import SIGTERMException

__all__ = [
    "Callback",
    "DDPStrategy",
    "EarlyStopping",
    "LambdaCallback",
    "ModelCheckpoint",
    "SIGTERMException",
    "pl",
    "stepping",
]


def stepping(module: pl.LightningModule) -> tuple[torch.optim.Optimizer, Callable[[], None]]:
    """The optimizer of a module that optimizes manually, and its step, which Lightning counts.

    Lightning's own wrapper goes through precision, strategy, profiler and the hooks of module and callbacks,
    a tenth of what a step of a linear probe takes. None of them has anything to do here, but for the module's
    `on_before_optimizer_step`, which is the caller's to call; a callback's is not called.
    """
    optimizer: Any = module.optimizers(use_pl_optimizer=False)
    progress = module.trainer.fit_loop.epoch_loop.manual_optimization.optim_step_progress

    def step() -> None:
        progress.increment_ready()
        optimizer.step()
        progress.increment_completed()

    return optimizer, step
