"""Going on where a killed training stopped: only with the same training, and over phases.

A checkpoint folder holds one folder per phase. In it, `last.ckpt` is the state after the phase's last
finished epoch, and `finished.pt`, once the phase is done, what it leaves to the next: its identity, the
history of all epochs so far, the network's tensors, and those of the best epoch where they are to be kept.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from thawline.artifacts import atomic_path
from thawline.config.errors import UserError
from thawline.machine import leads
from thawline.models.checkpoint import load_strictly
from thawline.training.processes import same_everywhere

FINISHED = "finished.pt"


@dataclass(frozen=True)
class Finished:
    """A finished phase, besides the network, which is as after its last epoch.

    `history` has the epochs of all phases so far. `best` are the network's tensors after the best of
    them; None unless they are to be kept, and in a phase that did not have it.
    """

    history: list[dict[str, float]]
    best: Mapping[str, torch.Tensor] | None = None


def require_same(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Raise `UserError` that names every difference unless a checkpoint's identity is the wanted one."""
    names = [
        name for name in (*wanted, *(found.keys() - wanted.keys())) if found.get(name) != wanted.get(name)
    ]
    if not names:
        return
    lines = [
        f"  {name}: {_shown(found, name)} in the checkpoint, {_shown(wanted, name)} now" for name in names
    ]
    raise UserError(
        "the checkpoint belongs to another training, so this one cannot go on from it:\n"
        + "\n".join(lines)
        + "\n  set these back, or delete the checkpoint's folder to start anew"
    )


def _shown(identity: Mapping[str, Any], name: str) -> str:
    return repr(identity[name]) if name in identity else "nothing"


def write_finished(
    folder: Path, identity: Mapping[str, Any], finished: Finished, state: Mapping[str, torch.Tensor]
) -> None:
    """Record in `folder` that a phase is done; of several processes the one that leads does."""
    if not leads():
        return
    content = {"identity": dict(identity), "history": finished.history, "best": finished.best}
    save(folder / FINISHED, {**content, "network": dict(state)})


def save(path: Path, content: Mapping[str, Any]) -> None:
    """Write `content` to `path` as torch does; a former file stays until it is whole."""
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        torch.save(content, file)  # given a path, torch would not say that the disk is full


def read_finished(folder: Path, identity: Mapping[str, Any], network: torch.nn.Module) -> Finished | None:
    """Return what the phase in `folder` left, its tensors put into `network`; None if it is not done.

    Raises `UserError` when that was another training.
    """
    path = folder / FINISHED
    if not same_everywhere(path.exists(), f"whether there is {path}"):
        return None
    content = torch.load(path, weights_only=True)
    require_same(content["identity"], identity)
    load_strictly(network, content["network"], str(path))
    return Finished(content["history"], content["best"])
