"""One training that every contestant does, and what all of them start from."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from thawline.models import zoo
from thawline.models.freezing import PartlyFrozen, hold
from thawline.models.selection import select

Trained = dict[str, Any]
"""What a contestant may tell of its training: `losses`, the mean training loss of every epoch."""

Prepared = Callable[[], Trained]
"""Everything that is timed."""


@dataclass(frozen=True)
class Task:
    """Train `architecture` on the pictures in `folder`, `epochs` times over, but for the `frozen` parameters.

    `folder` holds images.npy `(n, size, size, 3)` uint8, labels.npy `(n,)`, order.npy `(epochs, n)`: the
    order of the pictures in every epoch, and start.pt, the weights before the first step. `held` are the
    modules whose statistics do not move. AdamW at a constant rate, without weight decay or augmentation.
    `source` names what the first weights were trained on, "" where they are random.
    """

    folder: str
    architecture: str
    classes: int
    epochs: int
    batch_size: int
    learning_rate: float = 1e-3
    depth: int = 0
    frozen: tuple[str, ...] = ()
    held: tuple[str, ...] = ()
    threads: int = 1
    device: str = "cpu"
    source: str = ""

    def save(self, path: Path) -> Path:
        path.write_text(json.dumps(asdict(self)), encoding="utf-8")
        return path

    @classmethod
    def load(cls, path: Path) -> "Task":
        return cls(**json.loads(path.read_text(encoding="utf-8")))

    def array(self, name: str) -> np.ndarray:
        return np.load(Path(self.folder) / f"{name}.npy")

    def network(self) -> nn.Module:
        """The network with the weights before the first step, what is frozen without gradient."""
        network = zoo.build(self.architecture, self.classes, seed=0)
        network.load_state_dict(torch.load(Path(self.folder) / "start.pt", weights_only=True))
        for name in self.frozen:
            network.get_parameter(name).requires_grad_(False)
        return network.to(self.device)

    def learns(self, network: nn.Module) -> None:
        """Training mode, but for what is held."""
        network.train()
        for name in self.held:
            network.get_submodule(name).eval()

    def pictures(self) -> tuple[torch.Tensor, torch.Tensor]:
        """All pictures as network input, and their labels: nobody has to decode or to normalise any."""
        images = torch.from_numpy(self.array("images")).permute(0, 3, 1, 2).float()
        images = ((images / 255 - 0.5) / 0.25).contiguous()
        return images.to(self.device), torch.from_numpy(self.array("labels")).to(self.device)

    def batches(self, epoch: int) -> list[torch.Tensor]:
        """The places of the pictures of each batch of an epoch."""
        order = torch.from_numpy(self.array("order")[epoch]).to(self.device)
        return list(order.split(self.batch_size))

    def precision(self) -> torch.autocast:
        """bfloat16 on a GPU, as ours."""
        kind = torch.device(self.device).type
        return torch.autocast(kind, torch.bfloat16, enabled=kind == "cuda")


def frozen(network: nn.Module, depth: int) -> PartlyFrozen:
    """Hold the first `depth` units of `network`; everything else learns."""
    return hold(network, select(network, range(depth)))
