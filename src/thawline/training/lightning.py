"""Lightning, without what it would load for metrics that nothing here computes.

Lightning imports torchmetrics as a whole, and that imports whatever it finds for its metrics of text, sound
and pictures: transformers, matplotlib and others, which took longer than Lightning itself, in every process
that trains. While it is imported they count as not installed.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

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


with _not_installed(UNUSED):
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
]
